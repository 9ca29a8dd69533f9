// What a job asks of a machine: sizes of its networks, activations and arithmetic at its size, and how often each runs.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "engine/request/request.h"
#include "engine/residency/block_sizes.h"
#include "engine/residency/extent.h"

namespace wan {

/// Arithmetic of a part of a network.
struct Work {
  double linear = 0;     // FLOPs of matrix products and convolutions
  double attention = 0;  // FLOPs of dense attention: what Skip-Softmax leaves out is not known ahead
  double bytes = 0;      // read and written in the device's memory, as far as no product hides it

  Work operator+(const Work& other) const;
  Work operator*(double times) const;
};

/// What depends on the video's size.
struct Demand {
  uint64_t text = 0, denoise = 0;  // activations in bytes, of encoding the prompts and of a step
  uint64_t kept = 0;               // of `denoise`: residuals that are kept between steps
  // Of the VAE's encoder, on whole frames and in tiles, and of the decoder in each way. 0: it has not that way, or the
  // job encodes nothing.
  uint64_t encode = 0, encode_tiles = 0;
  uint64_t vae_own = 0, vae_shared = 0, vae_tiles = 0;
  uint64_t interpolation = 0;  // beside the decoder: weights and activations of an interpolator and a safety checker
  // Bytes that tiles keep on the host; they cross the link twice with each latent frame. And the arithmetic of tiles
  // against that of whole frames. Of the decoder and of the encoder.
  uint64_t tiles_on_host = 0, encode_tiles_on_host = 0;
  double tile_work = 1, encode_tile_work = 1;
  Work block;      // of one transformer block and one guidance branch
  Work rest;       // of a forward outside of its blocks
  Work text_work;  // of both prompts through the whole text encoder
  Work encode_work, decode_work;
};

struct Workload {
  Task task = Task::T2V;
  Extent extent{};
  bool eight_bit = false;  // products of the blocks run in 8 bits (--precision)
  // Steps in which blocks run, and forwards, one for each guidance branch. Speech has the low ones alone, of one clip.
  int64_t high_steps = 0, low_steps = 0;
  int64_t high_forwards = 0, low_forwards = 0;
  int64_t high_reused = 0, low_reused = 0;  // forwards that reuse a residual: what lies outside of blocks alone
  int64_t clips = 1;                        // of speech
  std::optional<bool> in_tiles = {};        // whether a card's VAE computes in tiles, where that is settled (VaeTiles)
  bool text_on_host = false;  // whether the text encoder may compute on the CPU: its states would have other bits
  std::map<Network, NetworkSizes> networks;
  std::function<Demand(const Extent&)> demand;  // throws nothing
};

}  // namespace wan
