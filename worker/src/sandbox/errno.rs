//! Error numbers of WASI preview 1 (`wasi_snapshot_preview1.witx`, `errno`).

pub(super) const SUCCESS: i32 = 0;
pub(super) const BADF: i32 = 8;
pub(super) const INVAL: i32 = 28;
pub(super) const IO: i32 = 29;
pub(super) const ISDIR: i32 = 31;
pub(super) const MFILE: i32 = 33;
pub(super) const NAMETOOLONG: i32 = 37;
pub(super) const NOENT: i32 = 44;
pub(super) const NOTDIR: i32 = 54;
pub(super) const NOTSUP: i32 = 58;
pub(super) const ROFS: i32 = 69;
pub(super) const SPIPE: i32 = 70;
pub(super) const NOTCAPABLE: i32 = 76;
