//! A reader of text that opens sockets.

use mio::Poll;
use rustix::net::connect;
use socket2::Socket;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
