//! Any bytes from a port: frames are found or named as damaged, and what decodes is encoded to the same message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use releq_format::wire::{FrameDecoder, MAX_FRAME, Request, Response, encode, parse};

fuzz_target!(|data: &[u8]| {
    stream(data);
    body(data);
});

/// Whatever came before, in whatever pieces: a zero byte ends it, and the frame behind is read whole.
fn stream(data: &[u8]) {
    let mut frame = [0; MAX_FRAME];
    let length = encode(7, &Request::SelfTest, &mut frame).expect("it fits");
    let bytes = [data, &[0], &frame[..length]].concat();
    let piece = data.first().map_or(1, |byte| usize::from(byte % 64) + 1);
    let mut decoder = FrameDecoder::new();
    let mut last = None;
    for mut piece in bytes.chunks(piece) {
        while let Some(found) = decoder.next(&mut piece) {
            last = found.ok().map(|found| {
                body(found);
                found.to_vec()
            });
        }
    }
    assert_eq!(parse(&last.expect("the last frame is sound")), Ok((7, Request::SelfTest)));
}

/// What is a message is one in a frame too, if it fits.
fn body(data: &[u8]) {
    if let Ok((id, request)) = parse::<Request<'_>>(data) {
        framed(id, &request, |body| assert_eq!(parse(body), Ok((id, request))));
    }
    if let Ok((id, response)) = parse::<Response<'_>>(data) {
        framed(id, &response, |body| assert_eq!(parse(body), Ok((id, response))));
    }
}

fn framed<M: serde::Serialize>(id: u32, message: &M, check: impl FnOnce(&[u8])) {
    let mut frame = [0; MAX_FRAME];
    if let Ok(length) = encode(id, message, &mut frame) {
        assert!(frame[..length].iter().position(|byte| *byte == 0) == Some(length - 1), "one zero, at the end");
        check(FrameDecoder::new().next(&mut &frame[..length]).expect("a frame").expect("a sound frame"));
    }
}
