//! Emptying fields: what the steps along a line have summed in 64-bit products becomes one sum a pixel.
//!
//! In these macros r4 to r7 are the even row's products of two neighbouring blocks, r8 to r11 the odd row's; sums or
//! totals lie at r2, and the other registers are free. `set` writes where `add` adds to what an earlier run left.

/// Adds a field that lies within one word to a sum, or makes it the sum.
macro_rules! within {
    (add, $sum:literal, $word:literal, $bit:literal, $width:literal) => {
        concat!("ubfx r12, ", $word, ", #", $bit, ", #", $width, "\nadd ", $sum, ", r12\n")
    };
    (set, $sum:literal, $word:literal, $bit:literal, $width:literal) => {
        concat!("ubfx ", $sum, ", ", $word, ", #", $bit, ", #", $width, "\n")
    };
}

/// The same for a field whose `$low` lowest bits are the top of one word and whose others are the bottom of the next.
#[rustfmt::skip]
macro_rules! across {
    (add, $sum:literal, $words:tt, $low:literal, $high:literal) => {
        concat!(across!(set, "r12", $words, $low, $high), "add ", $sum, ", r12\n")
    };
    (set, $sum:literal, ($first:literal, $second:literal), $low:literal, $high:literal) => {
        concat!(
            "lsr ", $sum, ", ", $first, ", #(32 - ", $low, ")\n",
            "bfi ", $sum, ", ", $second, ", #", $low, ", #", $high, "\n"
        )
    };
}

/// The same for the topmost field.
#[rustfmt::skip]
macro_rules! topmost {
    (add, $sum:literal, $word:literal, $bit:literal) => {
        concat!("add ", $sum, ", ", $sum, ", ", $word, ", lsr #", $bit, "\n")
    };
    (set, $sum:literal, $word:literal, $bit:literal) => {
        concat!("lsr ", $sum, ", ", $word, ", #", $bit, "\n")
    };
}

/// Loads sums that are added to.
macro_rules! load {
    (add, $registers:expr) => {
        concat!("ldm r2, {{", $registers, "}}\n")
    };
    (set, $registers:expr) => {
        ""
    };
}

/// Empties one row's two sums, three pixels a block: what the blocks share is first added to the second's. The first
/// two fields are always added to what the blocks before have left there.
#[rustfmt::skip]
macro_rules! empty_three {
    ($how:tt, $a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            "adds ", $c, ", ", $c, ", ", $b, ", lsr #7\n",
            "adc ", $d, ", ", $d, ", #0\n",
            "ldm r2, {{r0, r1, r3}}\n",
            within!(add, "r0", $a, "0", "13"),
            within!(add, "r1", $a, "13", "13"),
            across!($how, "r3", ($a, $b), "6", "7"),
            "stm r2!, {{r0, r1, r3}}\n",
            load!($how, concat!("r0, r1, r3, ", $a, ", ", $b)),
            within!($how, "r0", $c, "0", "13"),
            within!($how, "r1", $c, "13", "13"),
            across!($how, "r3", ($c, $d), "6", "7"),
            within!($how, $a, $d, "7", "13"),
            topmost!($how, $b, $d, "20"),
            "stm r2!, {{r0, r1, r3, ", $a, ", ", $b, "}}\n"
        )
    };
}

/// The same for signed fields. The lower three have had 2^12 added, which leaves nothing to borrow from the next: they are read
/// as they are. The upper two are read as one signed number, rounded to the nearest where they part. r0 stays what it is.
#[rustfmt::skip]
macro_rules! empty_centred {
    ($how:tt, $a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            "adds ", $c, ", ", $c, ", ", $b, ", asr #7\n",
            "adc ", $d, ", ", $d, ", ", $b, ", asr #31\n",
            "ldm r2, {{r1, r3, lr}}\n",
            within!(add, "r1", $a, "0", "13"),
            within!(add, "r3", $a, "13", "13"),
            across!($how, "lr", ($a, $b), "6", "7"),
            "stm r2!, {{r1, r3, lr}}\n",
            load!($how, concat!("r1, r3, ", $a, ", ", $b, ", lr")),
            within!($how, "r1", $c, "0", "13"),
            within!($how, "r3", $c, "13", "13"),
            across!($how, $a, ($c, $d), "6", "7"),
            upper_two!($how, $b, "lr", $d),
            "stm r2!, {{r1, r3, ", $a, ", ", $b, ", lr}}\n"
        )
    };
}

/// Two signed fields, the lower at bit 7 of a word and 13 bits wide.
#[rustfmt::skip]
macro_rules! upper_two {
    (add, $lower:literal, $upper:literal, $word:literal) => {
        concat!(
            "sbfx r12, ", $word, ", #7, #13\n",
            "add ", $lower, ", r12\n",
            "add ", $word, ", #(1 << 19)\n",
            "add ", $upper, ", ", $upper, ", ", $word, ", asr #20\n"
        )
    };
    (set, $lower:literal, $upper:literal, $word:literal) => {
        concat!(
            "sbfx ", $lower, ", ", $word, ", #7, #13\n",
            "add ", $word, ", #(1 << 19)\n",
            "asr ", $upper, ", ", $word, ", #20\n"
        )
    };
}

/// As `empty_three`, four pixels a block and fields of 10 bits.
#[rustfmt::skip]
macro_rules! empty_four {
    ($how:tt, $a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            "adds ", $c, ", ", $c, ", ", $b, ", lsr #8\n",
            "adc ", $d, ", ", $d, ", #0\n",
            "ldm r2, {{r0, r1, r3, lr}}\n",
            within!(add, "r0", $a, "0", "10"),
            within!(add, "r1", $a, "10", "10"),
            within!($how, "r3", $a, "20", "10"),
            across!($how, "lr", ($a, $b), "2", "8"),
            "stm r2!, {{r0, r1, r3, lr}}\n",
            load!($how, concat!("r0, r1, r3, ", $a, ", ", $b, ", lr")),
            within!($how, "r0", $c, "0", "10"),
            within!($how, "r1", $c, "10", "10"),
            within!($how, "r3", $c, "20", "10"),
            across!($how, $a, ($c, $d), "2", "8"),
            within!($how, $b, $d, "8", "10"),
            topmost!($how, "lr", $d, "18"),
            "stm r2!, {{r0, r1, r3, ", $a, ", ", $b, ", lr}}\n"
        )
    };
}

/// Two pixels a block: the whole product goes to a 64-bit total, its second and fourth field to sums of their own,
/// which leaves the first and third of the total twice their width.
#[rustfmt::skip]
macro_rules! total {
    (set, $low:literal, $high:literal, $spacing:literal, $top:literal) => {
        concat!(
            "strd ", $low, ", ", $high, ", [r2], #8\n",
            "ubfx ", $low, ", ", $low, ", #", $spacing, ", #", $spacing, "\n",
            "lsr ", $high, ", ", $high, ", #", $top, "\n",
            "strd ", $low, ", ", $high, ", [r2], #8\n"
        )
    };
    (add, $low:literal, $high:literal, $spacing:literal, $top:literal) => {
        concat!(
            "ldm r2, {{r0, r1, r3, r12}}\n",
            "adds r0, r0, ", $low, "\n",
            "adc r1, r1, ", $high, "\n",
            "ubfx lr, ", $low, ", #", $spacing, ", #", $spacing, "\n",
            "add r3, lr\n",
            "add r12, r12, ", $high, ", lsr #", $top, "\n",
            "stm r2!, {{r0, r1, r3, r12}}\n"
        )
    };
}

/// A total and its two sums, worth four times as much from now on.
macro_rules! shift_total {
    () => {
        "ldm r2, {{r0, r1, r3, r12}}
        lsl r1, r1, #2
        orr r1, r1, r0, lsr #30
        lsl r0, r0, #2
        lsl r3, r3, #2
        lsl r12, r12, #2
        stm r2!, {{r0, r1, r3, r12}}"
    };
}

/// The totals of one row (r12) become its sums (lr), of which the first two are shared with the blocks before.
#[rustfmt::skip]
macro_rules! end_totals {
    ($spacing:literal, $rest:literal, $top:literal, $double:literal, $left:literal) => {
        concat!(
            "ldm r12!, {{r0-r7}}\n",
            "subs r0, r0, r2, lsl #", $spacing, "\n",
            "sbc r1, r1, r2, lsr #", $rest, "\n",
            "sub r1, r1, r3, lsl #", $top, "\n",
            "lsr r8, r0, #", $double, "\n",
            "orr r8, r8, r1, lsl #", $left, "\n",
            "ubfx r0, r0, #0, #", $double, "\n",
            "subs r4, r4, r6, lsl #", $spacing, "\n",
            "sbc r5, r5, r6, lsr #", $rest, "\n",
            "sub r5, r5, r7, lsl #", $top, "\n",
            "lsr r9, r4, #", $double, "\n",
            "orr r9, r9, r5, lsl #", $left, "\n",
            "ubfx r4, r4, #0, #", $double, "\n",
            "ldrd r10, r11, [lr]\n",
            "add r0, r10\n",
            "add r1, r2, r11\n",
            "add r2, r8, r4\n",
            "add r3, r6\n",
            "stm lr!, {{r0-r3}}\n",
            "strd r9, r7, [lr]\n"
        )
    };
}
