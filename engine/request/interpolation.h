// What interpolation makes of a video's frames and of its rate: the numbers that a request, a plan and a file agree on.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "engine/base/rational.h"
#include "engine/request/request.h"

namespace wan {

/// Frames at a constant rate: frame n stands at n / rate seconds, and the last one is shown as long as the others.
struct FrameRun {
  int64_t frames = 0;
  Rational rate{16, 1};  // frames a second

  double seconds() const { return double(frames) * double(rate.denominator) / double(rate.numerator); }
};

struct Interpolation {
  std::string model = "none";  // none | film | rife
  int64_t between = 0;         // frames that are drawn between each two
  bool keeps_duration = true;  // the rate grows with the frames; else it stays, and the video is slower
  bool direct = false;         // FILM: every time directly from the two frames, not by midpoints

  bool is_on() const { return model != "none" && !model.empty() && between > 0; }
  /// n frames with k between each two: n + (n - 1) k.
  int64_t frames(int64_t count) const { return is_on() && count > 0 ? count + (count - 1) * between : count; }
  /// fps (k + 1) where the duration stays; exact.
  Rational rate(Rational of) const;
  FrameRun of(const FrameRun& run) const { return {frames(run.frames), rate(run.rate)}; }
};

Interpolation interpolation_of(const Request& request);

/// Fields of a request that the chain is: what they say changes the file, and nothing that comes before it.
inline constexpr const char* kChainFields[] = {"interpolator_model", "interpolator", "num_interpolated_frames",
                                               "adjust_fps_for_interpolation", "interpolation_times"};
/// Gives `to` the chain of another request.
void copy_chain(const Request& from, Request& to);

/// "film, 1 frame between each two: 81 frames at 16 fps, 5.06 s -> 161 frames at 32 fps, 5.03 s"; empty where nothing is
/// drawn. `known`: whether the number of frames is, which may follow from an input.
std::string chain_text(const Interpolation& how, const FrameRun& from, bool known = true);

/// What weights and machine say of how frames are drawn.
struct DrawingDetails {
  std::string tiles = {};    // in which they are drawn: "2 x 3 tiles of 448x512"; empty: whole frames
  std::string version = {};  // of RIFE, as far as its file tells: "4.25 or 4.26"; empty for FILM, which has one
};

/// The chain as JSON: [{"step": "generate", "frames": 81, "rate": "16", "seconds": 5.0625}, {"step": "film", ...}]. Without
/// interpolation the first of them alone. Frames and seconds are left out where they are not known, and empty details.
nlohmann::ordered_json chain_json(const Interpolation& how, const FrameRun& from, bool known = true,
                                  const DrawingDetails& details = {});

/// "16", "30000/1001".
std::string rate_text(Rational rate);

}  // namespace wan
