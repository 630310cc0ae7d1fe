//! A mock board that is attached to again and again: what one attachment writes, the next one finds.

use std::sync::{Arc, Mutex};

use super::{Board, Diary, locked};
use crate::wire::{Block, Memory, Wire, WireError};

/// One board at the end of as many attachments as it is cloned for.
#[derive(Clone, Debug)]
pub struct Shared {
    board: Arc<Mutex<Board>>,
    memory: Memory,
}

impl Shared {
    /// Of `board`.
    pub fn new(board: Board) -> Self {
        let memory = board.memory.clone();
        Self { board: Arc::new(Mutex::new(board)), memory }
    }

    /// What is done to it.
    pub fn diary(&self) -> Diary {
        locked(&self.board).diary()
    }

    /// Something done to it by hand, as pulling a cable.
    pub fn touch(&self, what: impl FnOnce(Board) -> Board) {
        let mut board = locked(&self.board);
        *board = what(board.clone());
    }
}

impl Wire for Shared {
    fn memory(&self) -> &Memory {
        &self.memory
    }

    fn read(&mut self, address: u32, bytes: &mut [u8]) -> Result<(), WireError> {
        locked(&self.board).read(address, bytes)
    }

    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), WireError> {
        locked(&self.board).write(address, bytes)
    }

    fn program(&mut self, blocks: &[Block], programmed: &mut dyn FnMut(u64)) -> Result<(), WireError> {
        locked(&self.board).program(blocks, programmed)
    }

    fn halted(&mut self) -> Result<bool, WireError> {
        locked(&self.board).halted()
    }

    fn reset_and_halt(&mut self) -> Result<(), WireError> {
        locked(&self.board).reset_and_halt()
    }

    fn run(&mut self) -> Result<(), WireError> {
        locked(&self.board).run()
    }
}
