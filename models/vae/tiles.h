// A stage of the VAE in tiles: groups of whole rows, each with the rows around it that its output depends on.
#pragma once

#include <functional>
#include <vector>

#include "kernels/convolution/convolution_cpu.h"
#include "models/vae/layers.h"

namespace wan::vae {

/// Rows of a stage's input that are a tile, at the stage's own resolution: at 720p the largest stages have six and three
/// tiles. Memory on a device follows from it, and there the bits do, too: the library chooses its convolution by sizes.
inline constexpr int64_t kTileRows = 128;

/// Rows of input above and below a tile that its output depends on, rounded up to how convolutions are cut on the CPU.
struct Halo {
  int64_t above, below;
};
/// Seven convolutions of three rows, or six and the one that doubles the rows.
inline constexpr Halo kDecoderHalo{kernels::kRowsOfAConvolution, kernels::kRowsOfAConvolution};
/// Five convolutions, and one that halves the rows and looks one row further down. Halved, it begins with a cut again.
inline constexpr Halo kEncoderHalo{2 * kernels::kRowsOfAConvolution, kernels::kRowsOfAConvolution};

/// One stage on its way through a clip. What its layers remember between chunks is that of each tile, and lies on the host
/// while other tiles are computed: only one tile's is on the device. On the CPU the output has the bits that it has
/// without tiles.
class TiledStage {
 public:
  /// The stage itself: [T, H, W, C] -> [T', k * H, W', C'] with k = 2, 1 or 1/2.
  using Stage = std::function<Tensor(Tensor x, FrameCache& cache)>;

  /// `slots`: of the stage's layers. `rows`: of a tile, a multiple of 2 * kRowsOfAConvolution. Throws c10::Error.
  TiledStage(Slots slots, Halo halo, int64_t rows);
  /// x [T, H, W, C], the next chunk; H even where the stage halves it. x is released on the way where there is one tile.
  Tensor operator()(Tensor x, FrameCache& cache, const Stage& stage);
  /// Bytes that lie on the host.
  int64_t host_bytes() const;

 private:
  Tensor tile(size_t number, Tensor slab, FrameCache& cache, const Stage& stage);

  Slots slots_;
  Halo halo_;
  int64_t rows_;
  std::vector<std::vector<Tensor>> on_host_;  // of each tile, by slot
};

}  // namespace wan::vae
