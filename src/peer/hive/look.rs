//! What the owner of this node sees of it.

use std::cmp::Reverse;

use coordinator_free::{Cell, MemberView};
use essaim_jobs::NodeId;

use super::{Hive, printable};
use crate::peer::job::JobState;
use crate::peer::snapshot::{
    CELLS, CellSnapshot, JobSnapshot, LEAST_CELLS, LEAST_MEMBERS, MEMBERS, MemberSnapshot, Snapshot,
};

impl Hive {
    /// This node and its jobs at this instant.
    pub(super) fn snapshot(&self) -> Snapshot {
        let status = self.status.borrow().clone();
        let jobs = self.jobs.len().max(1);
        let (members, cells) = ((MEMBERS / jobs).max(LEAST_MEMBERS), (CELLS / jobs).max(LEAST_CELLS));
        Snapshot {
            peer: self.me.to_string(),
            cpus: status.cpus,
            lent: status.lent,
            why: status.why,
            connected: status.connected,
            chunks_run: status.chunks_run,
            chunks_failed: status.chunks_failed,
            trouble: status.trouble,
            jobs: self.jobs.values().map(|state| job(state, members, cells as u32)).collect(),
        }
    }
}

fn job(state: &JobState, most_members: usize, most_cells: u32) -> JobSnapshot {
    let mut view = state.member.view();
    // This node stays first.
    view.members[1..].sort_by_key(|member| Reverse((member.alive, member.held)));
    let more = view.members.len().saturating_sub(most_members);
    view.members.truncate(most_members);
    let cells = state.member.map(most_cells);
    JobSnapshot {
        job: state.manifest.id().to_string(),
        name: printable(&state.manifest.name),
        own: state.author.is_some(),
        away: state.is_left(),
        chunks: state.manifest.chunks,
        sealed: cells.iter().map(|cell| cell.sealed).sum(),
        seconds: state.opened.elapsed().as_secs(),
        traffic: state.traffic,
        members: view.members.iter().map(|member| member_of(state, member)).collect(),
        more,
        cells: cells.into_iter().map(|cell| cell_of(cell, &view.members)).collect(),
    }
}

fn member_of(state: &JobState, member: &MemberView) -> MemberSnapshot {
    let load = &member.load;
    let rate = |micros| f64::from(load.threads) * 1e6 / f64::from(micros);
    let sealed_by = |node: &NodeId| state.author.as_ref().map(|author| author.by.get(node).copied().unwrap_or(0));
    MemberSnapshot {
        peer: member.node.to_string(),
        alive: member.alive,
        cores: load.threads,
        running: load.running,
        held: member.held,
        sealed: sealed_by(&member.node),
        rate: if load.slot_micros == 0 { 0.0 } else { rate(load.slot_micros) },
    }
}

fn cell_of(cell: Cell, members: &[MemberView]) -> CellSnapshot {
    let Cell { chunks, sealed, failed, done, running, held, holder } = cell;
    let holder = holder.and_then(|holder| members.iter().position(|member| member.node == holder));
    CellSnapshot { chunks: chunks.end - chunks.start, sealed, failed, done, running, held, holder }
}
