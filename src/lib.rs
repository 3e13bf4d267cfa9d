//! stub
pub mod blob;
pub mod net;
