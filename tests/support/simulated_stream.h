// A network whose blocks are streamed, on a simulated clock: what a disk, a link and the arithmetic do, event by event.
#pragma once

#include <algorithm>
#include <cstdint>
#include <queue>
#include <vector>

#include "engine/residency/cost_model.h"

namespace wan {

struct SimulatedBlock {
  double compute = 0;     // seconds
  bool streamed = false;  // else it stays on the device
  Image image = Image::Pinned;
  uint64_t device = 0, file = 0;
};

/// Copies go in pieces: each is read (from the disk, or into pinned memory) and then sent, while the next one is read.
class SimulatedStream {
 public:
  SimulatedStream(std::vector<SimulatedBlock> blocks, double rest, int64_t slots, const Machine& machine)
      : blocks_(std::move(blocks)), rest_(rest), slots_(slots), machine_(machine) {
    for (size_t i = 0; i < blocks_.size(); ++i)
      if (blocks_[i].streamed) order_.push_back(i);
  }

  struct Result {
    double seconds = 0;
    int64_t late = 0;  // blocks that waited for their copy after the slots were filled for the first time
  };

  Result run(int64_t forwards) {
    left_ = forwards;
    turns_ = forwards * int64_t(order_.size());
    begin_copy();
    begin_forward();
    while (!events_.empty()) {
      const Event event = events_.top();
      events_.pop();
      now_ = event.time;
      switch (event.kind) {
        case Kind::Read:
          ++read_;
          read_next();
          send_next();
          break;
        case Kind::Sent:
          sending_ = false;
          if (++sent_ == pieces_)
            end_copy();
          else
            send_next();
          break;
        case Kind::Rest:
          next_ = 0;
          begin_block();
          break;
        case Kind::Block:
          end_block();
          break;
      }
    }
    return {end_, late_};
  }

 private:
  enum class Kind { Read, Sent, Rest, Block };
  struct Event {
    double time;
    int64_t number;  // events at one time happen in the order in which they were made
    Kind kind;
    bool operator<(const Event& other) const { return time != other.time ? time > other.time : number > other.number; }
  };
  static constexpr double kPiece = 8e6, kLatency = 5e-6;

  void at(double time, Kind kind) { events_.push({time, ++number_, kind}); }
  const SimulatedBlock& of_turn(int64_t turn) const { return blocks_[order_[size_t(turn) % order_.size()]]; }

  void begin_copy() {
    if (copying_ || copied_ == turns_ || copied_ >= released_ + slots_) return;
    copying_ = true;
    read_ = sent_ = 0;
    pieces_ = std::max<int64_t>(1, int64_t(double(of_turn(copied_).device) / kPiece));
    if (of_turn(copied_).image == Image::Pinned)
      read_ = pieces_;
    else
      read_next();
    send_next();
  }
  void read_next() {
    if (read_ == pieces_) return;
    const SimulatedBlock& block = of_turn(copied_);
    const double whole =
        block.image == Image::File ? double(block.file) / machine_.disk : double(block.device) / machine_.link_pageable;
    at(now_ + whole / double(pieces_), Kind::Read);
  }
  void send_next() {
    if (sending_ || sent_ == pieces_ || sent_ >= read_) return;
    sending_ = true;
    at(now_ + kLatency + double(of_turn(copied_).device) / machine_.link / double(pieces_), Kind::Sent);
  }
  void end_copy() {
    copying_ = false;
    ++copied_;
    begin_copy();
    if (waiting_) begin_block();
  }

  void begin_forward() {
    if (left_-- == 0) {
      end_ = now_;
      return;
    }
    at(now_ + rest_, Kind::Rest);
  }
  void begin_block() {
    if (next_ == blocks_.size()) return begin_forward();
    const SimulatedBlock& block = blocks_[next_];
    if (block.streamed && copied_ <= released_) {
      if (!waiting_ && released_ >= slots_) ++late_;
      waiting_ = true;
      return;
    }
    waiting_ = false;
    at(now_ + block.compute, Kind::Block);
  }
  void end_block() {
    if (blocks_[next_].streamed) {
      ++released_;
      begin_copy();
    }
    ++next_;
    begin_block();
  }

  const std::vector<SimulatedBlock> blocks_;
  const double rest_;
  const int64_t slots_;
  const Machine& machine_;
  std::vector<size_t> order_;  // of the streamed blocks
  std::priority_queue<Event> events_;
  double now_ = 0, end_ = 0;
  int64_t number_ = 0, left_ = 0, turns_ = 0, copied_ = 0, released_ = 0, late_ = 0;
  int64_t pieces_ = 0, read_ = 0, sent_ = 0;
  size_t next_ = 0;
  bool copying_ = false, sending_ = false, waiting_ = false;
};

}  // namespace wan
