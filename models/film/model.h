// FILM: the picture between two pictures, for large motion. Features of several levels, flow from coarse to fine in both
// directions, and a fusion of both pictures and their features, warped to the wanted time. Sources: Reda et al., FILM:
// Frame Interpolation for Large Motion, ECCV 2022; models/film_net of its publication; the published TorchScript
// archives film_net_fp32.pt and film_net_fp16.pt.
//
// Weights are shared: one extractor serves all levels of both pictures; one flow predictor serves both directions and, at
// the coarser levels, all of them.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string_view>
#include <vector>

#include "models/film/config.h"
#include "models/film/layers.h"
#include "models/weights/scope.h"

namespace wan::film {

struct Options {
  /// Of activations and weights, whatever the file has. float16 is for devices that compute in it: on the CPU both
  /// published files compute in float32.
  at::ScalarType dtype = at::kFloat;
  /// Flows and fusion of large levels are computed in bands of rows, so that the input of one takes no more than this. The
  /// default: of the fusion of 1280x720 in float32 62 rows.
  int64_t band_bytes = 64 << 20;
};

/// The finest level of which a Frame holds FlowPredictor::own. Of finer ones, which have few features, it is computed again
/// for each flow, which costs little for what it would take.
constexpr int64_t kFirstOwn = 1;

/// A frame as the network takes it: padded, with its feature pyramid, computed once per frame. Levels from the finest on.
struct Frame {
  std::vector<Tensor> pictures;   // [1, 3, h, w], of the levels that the fusion reads
  std::vector<Tensor> features;   // [1, C, h, w], of all levels
  std::vector<Tensor> own;        // FlowPredictor::own of the features from kFirstOwn on, finer ones undefined
  int64_t height = 0, width = 0;  // of the frame as it came
  /// What it holds.
  int64_t bytes() const;
};

/// Sees what is computed on the way, by name: "forward_residual.0" (what the predictor adds at level 0), "forward_flow.0"
/// (of the levels that the fusion reads), the same of "backward", "aligned.4" (the coarsest that the fusion reads), "raw"
/// (the result with its padding, not limited). Costs nothing where it is empty.
using Observer = std::function<void(std::string_view name, const Tensor& value)>;

class Model {
 public:
  /// Takes every tensor of `weights` by its name in the published archives; the caller ends with `weights.finish()`.
  /// Throws ModelError where sizes cannot be read off the tensors.
  explicit Model(Weights& weights, const Options& options = {});
  /// The same of known sizes.
  Model(const Scope& root, const Config& config, const Options& options = {});

  const Config& config() const { return config_; }
  at::ScalarType dtype() const { return dtype_; }

  /// rgb [1, 3, H, W] in [0, 1], on the model's device and dtype; any H and W from 1 on. It is padded with zeros on all
  /// sides to multiples of Config::alignment(). Throws c10::Error for other shapes and dtypes.
  Frame frame(const Tensor& rgb) const;
  /// The picture at `time` in (0, 1) (trained for .5) -> [1, 3, H, W] in [0, 1]. The frames are of one size and are not
  /// changed. Throws c10::Error for others, and for other times.
  Tensor between(const Frame& first, const Frame& second, double time, const Observer& observe = {}) const;

 private:
  std::vector<Tensor> extract(const std::vector<Tensor>& pictures) const;
  /// Flows from `from` to `to` of the levels that the fusion reads, in pixels of each.
  std::vector<Tensor> flows(const Frame& from, const Frame& to, std::string_view direction,
                            const Observer& observe) const;
  const FlowPredictor& predictor(int64_t level) const;

  Config config_;
  at::ScalarType dtype_;
  std::vector<SubLevel> sub_levels_;
  std::vector<FlowPredictor> predictors_;  // as Config::predictors
  std::vector<FusionLevel> fusion_;        // as Config::fusion
  Convolution output_;
};

}  // namespace wan::film
