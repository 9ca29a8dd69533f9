// Seconds of a plan: arithmetic at the rates of a machine, and copies that hide behind it or do not.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/residency/machine.h"
#include "engine/residency/placed_blocks.h"
#include "engine/residency/workload.h"

namespace wan {

/// Of arithmetic on the device. `eight_bit`: its products run in 8 bits where the card has such.
double seconds_of(const Work& work, const Machine& machine, bool eight_bit);

/// Reading `file` bytes while `device` bytes go through the link: the slower of the two.
double load_seconds(uint64_t file, uint64_t device, const Machine& machine);

/// Bringing one block into a slot.
double copy_seconds(const BlockSizes& block, Image image, const Machine& machine);

/// One forward after another through blocks of which some wait for copies.
struct Streaming {
  std::vector<double> compute;  // of each block, in all guidance branches
  std::vector<double> copy;     // of each block; negative: it stays on the device
  double rest = 0;              // computing before the first block of each forward
  int64_t slots = 2;
};

struct StreamingTime {
  double seconds = 0, compute = 0, copy = 0;  // of all forwards: the end of the last block, and what each side was busy
  /// No block waits, those of the first forward that fill the slots aside, even where copies take a twentieth more.
  bool hidden = true;
};

/// Copies go in order; each begins when the one before has ended and the slot of its turn is free, which it is when the
/// block in it has run. A block runs when the one before has and its own copy has ended.
StreamingTime streaming_time(const Streaming& streaming, int64_t forwards);

}  // namespace wan
