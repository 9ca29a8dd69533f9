// The causal 3D VAE of Wan 2.1, which Wan 2.2 A14B uses: both networks of one file.
#pragma once

#include "models/vae/decoder.h"
#include "models/vae/encoder.h"

namespace wan::vae {

struct Options {
  /// Of activations, and of weights that lie on a device. The reference runs the VAE in float32.
  at::ScalarType dtype = at::kFloat;
};

/// Widths are read from the tensors: the base width from encoder.conv1.weight; the levels have 1, 2, 4 and 4 times as many.
struct Vae {
  /// Takes every tensor of `weights` by its official name; the caller ends with `weights.finish()`.
  /// Throws ModelError where the widths cannot be read or are not those of a VAE of 16 latent channels.
  explicit Vae(Weights& weights, const Options& options = {});
  Encoder encoder;
  Decoder decoder;

 private:
  struct Widths {
    int64_t base, latent;
  };
  static Widths read_widths(Weights& weights);
  Vae(const Scope& root, Widths widths, const Options& options);
};

}  // namespace wan::vae
