//! Sums a column of a table by the names in its first one.
//!
//! The columns are parted by tabs, and counted from 1. A line is the chunk's number, a name, and its sum.

const std = @import("std");
const Io = std.Io;

const Sums = std.StringArrayHashMapUnmanaged(i64);

pub fn main(init: std.process.Init) !void {
    const gpa = init.arena.allocator();
    const args = try init.minimal.args.toSlice(gpa);
    if (args.len < 2) return error.WhichColumn;
    const column = try std.fmt.parseInt(usize, args[1], 10);
    const chunk = init.environ_map.get("ESSAIM_CHUNK") orelse return error.NotAChunk;

    var in: Io.File.Reader = .initStreaming(.stdin(), init.io, &.{});
    const text = try in.interface.allocRemaining(gpa, .unlimited);
    var sums = try tally(gpa, text, column);
    sums.sort(ByName{ .names = sums.keys() });

    var buffer: [4096]u8 = undefined;
    var out: Io.File.Writer = .initStreaming(.stdout(), init.io, &buffer);
    for (sums.keys(), sums.values()) |name, sum| try out.interface.print("{s}\t{s}\t{d}\n", .{ chunk, name, sum });
    try out.interface.flush();
}

fn tally(gpa: std.mem.Allocator, text: []const u8, column: usize) !Sums {
    var sums: Sums = .empty;
    var lines = std.mem.splitScalar(u8, std.mem.trimEnd(u8, text, "\n"), '\n');
    var number: usize = 1;
    while (lines.next()) |line| : (number += 1) {
        const value = valueAt(line, column) orelse {
            std.debug.print("line {d} has no number in column {d}\n", .{ number, column });
            std.process.exit(1);
        };
        const found = try sums.getOrPutValue(gpa, std.mem.sliceTo(line, '\t'), 0);
        found.value_ptr.* += value;
    }
    return sums;
}

fn valueAt(line: []const u8, column: usize) ?i64 {
    var fields = std.mem.splitScalar(u8, line, '\t');
    for (1..column) |_| _ = fields.next();
    return std.fmt.parseInt(i64, fields.next() orelse return null, 10) catch null;
}

const ByName = struct {
    names: []const []const u8,

    pub fn lessThan(self: ByName, one: usize, other: usize) bool {
        return std.mem.lessThan(u8, self.names[one], self.names[other]);
    }
};
