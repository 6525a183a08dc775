//! Scripted sockets.
