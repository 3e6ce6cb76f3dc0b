//! Terminals: the descriptor of one sent over a socket, and its size.

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::termios::Winsize;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

/// Receives the descriptor a runtime sends over its console socket.
///
/// # Errors
/// What `recvmsg` reports; `InvalidData` when the message carries no descriptor.
pub fn receive_master(connection: impl AsFd) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    // The bytes are the name of the terminal, which nobody needs.
    let mut name = [0; 4096];
    rustix::net::recvmsg(connection, &mut [io::IoSliceMut::new(&mut name)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut fds) = message
            && let Some(master) = fds.next()
        {
            return Ok(master);
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "console socket message without a descriptor"))
}

/// Sets the size of the terminal, in characters.
///
/// # Errors
/// What the ioctl reports.
pub fn resize(master: impl AsFd, width: u16, height: u16) -> io::Result<()> {
    let size = Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(rustix::termios::tcsetwinsize(master, size)?)
}
