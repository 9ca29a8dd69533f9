// The benchmark's networks without their files: the same sizes, so the same times; the pictures are noise.
#pragma once

#include <memory>
#include <optional>

#include "models/umt5/encoder.h"
#include "models/vae/vae.h"
#include "models/wan/model.h"
#include "tools/bench/networks.h"
#include "tools/mlperf/maker.h"
#include "tools/mlperf/settings.h"

namespace wan::mlperf {

struct DrawnSizes {
  WanConfig config = kWanT2vA14b;
  bench::Umt5Shapes t5 = {};
  int64_t vae_base = 96;

  bool are_official() const { return config.dim == kWanT2vA14b.dim; }
};
/// Networks that a CPU computes in seconds.
DrawnSizes small_sizes();

class DrawnMaker : public VideoMaker {
 public:
  /// Draws all networks on the site's device, the experts in its dtype and `precision`. Where a second expert has no
  /// room, the first stands for both: it does the same work. Throws c10::OutOfMemoryError where not even that fits.
  DrawnMaker(const bench::Site& site, const DrawnSizes& sizes, const Settings& settings, Precision precision);

  at::Device device() const override { return device_; }
  std::string weights() const override;
  std::string precision() const override;
  Work work() const override;
  /// Ids made of the prompt's bytes, one for four of them, at most config.text_len.
  Tensor text(const std::string& prompt) override;
  void begin(const Tensor& positive, const Tensor& negative, const Schedule& schedule) override;
  kernels::Velocity velocity(const Step& step, const Tensor& x) override;
  void decode(const Tensor& latents, int64_t frames, const TakeFrames& take) override;

 private:
  const DrawnSizes sizes_;
  const Settings settings_;
  const Precision precision_;
  const at::Device device_;
  std::unique_ptr<const Umt5Encoder> encoder_;
  std::unique_ptr<const vae::Vae> vae_;
  std::shared_ptr<const WanModel> high_, low_;

  // Of the video that is being made.
  Tensor positive_states_, negative_states_;
  std::optional<bool> whose_;  // contexts those are: the high-noise expert's
  std::optional<Context> positive_, negative_;
  std::optional<kernels::Rope> rope_;
};

}  // namespace wan::mlperf
