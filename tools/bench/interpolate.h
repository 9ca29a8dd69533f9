// `wan-bench interpolate`: what a frame and a pair cost the networks that draw frames between frames.
#pragma once

#include <functional>
#include <ostream>
#include <string>
#include <vector>

namespace wan::bench {

/// What a card is reckoned with; nothing of it is measured.
struct CardRates {
  std::string name;
  double flops = 0;      // a second that products of 16 bits reach
  double bandwidth = 0;  // bytes a second of its memory
  double link = 0;       // bytes a second between host and card
};

struct InterpolateOptions {
  std::vector<std::string> networks;  // "film", "rife"; both where empty
  std::string film, rife;             // files of weights; drawn where empty: FILM as published, RIFE 4.25
  int64_t height = 720, width = 1280;
  int runs = 3;             // pairs after the warm-up
  CardRates card;           // left out where it has no name
  std::string program;      // wan-bench itself
  bool in_process = false;  // measure here; else each network in a fresh process, so that peaks can be compared
};

/// One JSON line for each network, which `out` and, where there is one, `each` get as it comes:
///   weights ("drawn", or the file's name), version, height, width, threads, dtype
///   frame_seconds, between_seconds   wall time of Model::frame and of Model::between, medians of `runs`
///   pair_seconds                     of both: a pair in a stream, which computes each frame once
///   *_cpu_seconds                    the same in processor time of all threads
///   activation_peak_bytes            of tensors, two frames and the picture between with them, counted by an allocator
///   activation_planned_bytes         what the plan of a run says of the same
///   rss_above_bytes                  largest resident set, above that with weights and pictures before the first frame
///   rss_peak_bytes                   the same set with weights and libraries, from the first frame on
///   frame_bytes                      what a frame holds while it waits for its second pair
///   frame_flops, between_flops       multiplications and additions of the convolutions
///   card                             computed: work of a clip of 81 frames on a card, and its seconds
/// Times of the card are those of the cost model of plans: arithmetic at the rate that products reach, and bytes at the
/// rate of the memory, one after the other. Throws std::invalid_argument for unknown names, ModelError for files.
void interpolate(const InterpolateOptions& options, std::ostream& out,
                 const std::function<void(const std::string& line)>& each = {});

}  // namespace wan::bench
