//! The pipe to a server in this process: the firmware's conversation without firmware.

use std::collections::VecDeque;
use std::time::Duration;

use releq_device::clock::Clock;
use releq_device::server::Server;

use super::{TargetError, Transport};

/// A server that answers while it is being asked.
#[derive(Debug)]
pub struct Local<'a, C, const N: usize> {
    server: Server<'a, C, N>,
    answers: VecDeque<Vec<u8>>,
}

impl<'a, C, const N: usize> Local<'a, C, N> {
    /// A pipe to `server`.
    pub const fn new(server: Server<'a, C, N>) -> Self {
        Self { server, answers: VecDeque::new() }
    }
}

impl<C: Clock, const N: usize> Transport for Local<'_, C, N> {
    fn send(&mut self, mut bytes: &[u8]) -> Result<(), TargetError> {
        while !bytes.is_empty() {
            let answer = self.server.poll(&mut bytes);
            if !answer.is_empty() {
                self.answers.push_back(answer.to_vec());
            }
        }
        Ok(())
    }

    fn receive(&mut self, _: Duration) -> Result<Option<Vec<u8>>, TargetError> {
        Ok(self.answers.pop_front())
    }
}
