// Cards as they are sold: memory and rates of their public sheets.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace wan {

struct Card {
  const char* name;        // as the driver has it, without "NVIDIA" and "GeForce"
  uint64_t mebibytes;      // that the driver states
  double tflops16;         // dense, bf16 with float32 sums
  double tflops8;          // dense, int8 or fp8; 0: no 8-bit products
  double bandwidth;        // GB/s of its memory
  double link;             // GB/s that copies from pinned memory reach
  double linear_share;     // of tflops16 and tflops8 that matrix products reach
  double attention_share;  // of tflops16 that attention reaches
  uint64_t memory() const { return mebibytes << 20; }
};

/// In the order in which a size without a name chooses among them.
const std::vector<Card>& known_cards();

/// The card of this name, however it is written: "4090", "rtx-4090", "NVIDIA GeForce RTX 4090"; nullptr where none is, or
/// several are.
const Card* card_named(const std::string& name);

/// The first card whose memory is within an eighth of so many bytes, else the nearest.
const Card& card_of_size(uint64_t bytes);

}  // namespace wan
