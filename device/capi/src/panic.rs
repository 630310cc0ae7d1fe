//! What a panic would do, and the proof that there is none.

#[cfg(feature = "proof")]
unsafe extern "C" {
    /// Defined nowhere, on purpose: an undefined symbol of this name means that something can panic.
    fn releq_library_can_panic() -> !;
}

#[panic_handler]
fn panicked(_: &core::panic::PanicInfo<'_>) -> ! {
    #[cfg(feature = "proof")]
    // SAFETY: never linked, hence never called.
    unsafe {
        releq_library_can_panic()
    }
    #[cfg(not(feature = "proof"))]
    loop {
        core::hint::spin_loop();
    }
}
