// The causal 3D VAE of Wan 2.1, which Wan 2.2 A14B uses: both networks of one file.
#pragma once

#include "models/vae/decoder.h"
#include "models/vae/encoder.h"

namespace wan::vae {

struct Options {
  /// Of activations, and of weights that lie on a device. The reference runs the VAE in float32.
  at::ScalarType dtype = at::kFloat;
};

/// The levels are base, 2 base, 4 base and 4 base channels wide. No file states it: it is read off the tensors.
struct Widths {
  int64_t base = 96;  // the official VAE's
  int64_t latent = 16;
};

struct Vae {
  /// Takes every tensor of `weights` by its official name; the caller ends with `weights.finish()`.
  /// Throws ModelError where the widths cannot be read or are not those of a VAE of 16 latent channels.
  explicit Vae(Weights& weights, const Options& options = {});
  /// The same with known widths.
  Vae(const Scope& root, const Widths& widths, const Options& options = {});
  Encoder encoder;
  Decoder decoder;
};

}  // namespace wan::vae
