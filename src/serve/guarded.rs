//! A connection of HTTP that ends when its client is silent too long, or at its time, and gives back
//! its place when it ends.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// A stream with a time and a place.
pub(super) struct Guarded<P> {
    stream: TcpStream,
    /// What each sign of life adds; `None`: nothing.
    silence: Option<Duration>,
    until: Pin<Box<Sleep>>,
    _place: P,
}

impl<P> Guarded<P> {
    /// Ends when nothing came in the `first` time, and later in `silence`, or at its `first` time.
    pub(super) fn new(
        stream: TcpStream,
        first: Duration,
        silence: Option<Duration>,
        place: P,
    ) -> Self {
        Self {
            stream,
            silence,
            until: Box::pin(tokio::time::sleep(first)),
            _place: place,
        }
    }

    fn ended(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.until.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    fn lives(&mut self) {
        if let Some(silence) = self.silence {
            self.until.as_mut().reset(Instant::now() + silence);
        }
    }
}

impl<P: Unpin> AsyncRead for Guarded<P> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(done) = Pin::new(&mut self.stream).poll_read(cx, buffer) {
            self.lives();
            return Poll::Ready(done);
        }
        ready!(self.ended(cx))?;
        Poll::Pending
    }
}

impl<P: Unpin> AsyncWrite for Guarded<P> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(done) = Pin::new(&mut self.stream).poll_write(cx, bytes) {
            self.lives();
            return Poll::Ready(done);
        }
        ready!(self.ended(cx))?;
        Poll::Pending
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<P> Connected for Guarded<P> {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}
