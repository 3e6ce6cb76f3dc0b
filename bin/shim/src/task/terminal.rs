//! `ResizePty` and `CloseIO`.

use super::State;
use crate::shim::Shim;
use model::{Error, Result};
use proto::shim::containerd::task::v3::{CloseIoRequest, ResizePtyRequest};

impl Shim {
    pub(super) fn resize_pty(&mut self, request: &ResizePtyRequest) -> Result<()> {
        let process = self.process(&request.id, &request.exec_id)?;
        if process.state == State::Stopped && !request.exec_id.is_empty() {
            return Err(Error::unknown("cannot resize a stopped container"));
        }
        let size = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
        // Without a terminal there is nothing to resize, which Go's shim takes for success.
        match &process.io.master {
            Some(master) => sys::pty::resize(master, size(request.width), size(request.height))
                .map_err(|error| Error::io(format!("resize terminal of {}", request.id), error)),
            None => Ok(()),
        }
    }

    /// Lets go of stdin: once its clients have too, the process reads the end of it.
    pub(super) fn close_io(&mut self, request: &CloseIoRequest) -> Result<()> {
        let process = self.process(&request.id, &request.exec_id)?;
        process.io.stdin_writer = None;
        process.io.is_stdin_closed = true;
        Ok(())
    }
}
