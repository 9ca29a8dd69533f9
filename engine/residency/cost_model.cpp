#include "engine/residency/cost_model.h"

#include <algorithm>

namespace wan {

namespace {

/// Attention with 8-bit queries and keys against that in 16 bits.
constexpr double kEightBitAttention = 1.3;
/// Copies that are called hidden would be so on a link that is a twentieth slower.
constexpr double kSlowerCopies = 1.05;
/// What a wait must exceed to be one, as a share of a forward: rounding of sums does not.
constexpr double kRounding = 1e-9;

}  // namespace

double seconds_of(const Work& work, const Machine& machine, bool eight_bit) {
  const bool narrow = eight_bit && machine.linear8 > 0;
  const double linear = narrow ? machine.linear8 : machine.linear;
  const double attention = machine.attention * (narrow ? kEightBitAttention : 1);
  return work.linear / linear + work.attention / attention + work.bytes / machine.bandwidth;
}

double load_seconds(uint64_t file, uint64_t device, const Machine& machine) {
  return std::max(double(file) / machine.disk, double(device) / machine.link);
}

double copy_seconds(const BlockSizes& block, Image image, const Machine& machine) {
  switch (image) {
    case Image::Pinned:
      return double(block.device) / machine.link;
    case Image::Pageable:
      return double(block.device) / std::min(machine.link, machine.link_pageable);
    case Image::File:
      break;
  }
  return load_seconds(block.file, block.device, machine);
}

namespace {

struct Timeline {
  StreamingTime time;
  double waited = 0;  // for copies, but for those that fill the slots at first
};

Timeline timeline(const Streaming& streaming, int64_t forwards, double slower) {
  Timeline line;
  StreamingTime& time = line.time;
  std::vector<double> slot_free(size_t(std::max<int64_t>(streaming.slots, 1)), 0.0);
  double copier = 0;
  int64_t turn = 0;
  for (int64_t forward = 0; forward < forwards; ++forward) {
    time.seconds += streaming.rest;
    time.compute += streaming.rest;
    for (size_t block = 0; block < streaming.compute.size(); ++block) {
      double* slot = nullptr;
      if (streaming.copy[block] >= 0) {
        slot = &slot_free[size_t(turn) % slot_free.size()];
        copier = std::max(copier, *slot) + slower * streaming.copy[block];
        time.copy += slower * streaming.copy[block];
        if (copier > time.seconds && turn >= int64_t(slot_free.size())) line.waited += copier - time.seconds;
        time.seconds = std::max(time.seconds, copier);
        ++turn;
      }
      time.seconds += streaming.compute[block];
      time.compute += streaming.compute[block];
      if (slot) *slot = time.seconds;
    }
  }
  return line;
}

}  // namespace

StreamingTime streaming_time(const Streaming& streaming, int64_t forwards) {
  StreamingTime time = timeline(streaming, forwards, 1).time;
  time.hidden = timeline(streaming, forwards, kSlowerCopies).waited <= kRounding * time.seconds;
  return time;
}

}  // namespace wan
