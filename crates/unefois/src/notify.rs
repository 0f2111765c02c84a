//! What a service tells its manager: sd_notify(3), over the Unix datagram socket that the manager names.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// A state of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It serves.
    Ready,
    /// It refuses new calls and ends those under way.
    Stopping,
}

/// Tells the manager; nothing where there is none (`NOTIFY_SOCKET` is not set).
///
/// # Errors
/// The socket is named but does not take the message.
pub fn notify(state: State) -> io::Result<()> {
    std::env::var_os("NOTIFY_SOCKET").map_or(Ok(()), |socket| send(&socket, state))
}

fn send(socket: &OsStr, state: State) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    let message: &[u8] = match state {
        State::Ready => b"READY=1",
        State::Stopping => b"STOPPING=1",
    };
    UnixDatagram::unbound()?.send_to_addr(message, &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_nobody_holds_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(send(folder.path().join("none").as_os_str(), State::Ready).is_err());
    }

    #[test]
    fn the_manager_hears_each_state() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let mut buffer = [0; 64];
        for (state, text) in [(State::Ready, &b"READY=1"[..]), (State::Stopping, b"STOPPING=1")] {
            send(path.as_os_str(), state).unwrap();
            let read = manager.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..read], text);
        }
    }

    #[test]
    fn an_abstract_name_is_taken_too() {
        let name = format!("unefois-notify-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        send(OsStr::new(&format!("@{name}")), State::Ready).unwrap();
        let mut buffer = [0; 64];
        assert_eq!(manager.recv(&mut buffer).unwrap(), 7);
    }
}
