// What a job takes of memory, and what is told of that before anything is loaded.
#pragma once

#include <cstdint>

#include "engine/base/note.h"
#include "engine/residency/device.h"
#include "engine/residency/extent.h"
#include "engine/residency/parts.h"
#include "engine/residency/vae_tiles.h"
#include "models/vae/vae.h"
#include "models/wan/config.h"

namespace wan {

/// Of the job's video, or of the largest that it can become where its input decides. A clip of speech counts as a video
/// that is as much longer as its picture and its past have tokens.
Extent largest_extent(const Request& request);

/// Activations of one step with both guidance branches, in bytes. `copied`: weights are copied on the CPU, too, where it
/// stands for a card; those of one input are then one matrix.
uint64_t denoise_bytes(const WanConfig& config, const Extent& extent, const Placement& placement, bool copied = false);
/// What a step that reuses residuals takes beside them, and what a step that keeps them takes behind its last block: both
/// branches' tokens and fresh ones in float32. In bytes.
uint64_t reuse_bytes(const WanConfig& config, const Extent& extent);
/// Causal caches and the largest level's buffers of the VAE, in bytes; about the same for decoding and encoding.
uint64_t vae_bytes(int64_t base_width, const Extent& extent, at::ScalarType dtype,
                   vae::Windows windows = vae::Windows::Shared);
/// Channels of the VAE's last level, from its headers; 0 where they cannot be told. Throws ModelError.
int64_t vae_width(const ModelParts& parts);
/// What a product with weights in codes widens at a time, where a transformer has such; else 0. Throws ModelError.
uint64_t widened_bytes(const ModelParts& parts, const Placement& placement);
/// Own windows on a GPU where they fit into `available` bytes. On the CPU memory is what counts.
vae::Windows windows_for(const Placement& placement, uint64_t own_bytes, uint64_t available);

/// A note where the placement's form of the weights takes more of the device than that of the files, of the transformer
/// for which it does most. Throws ModelError.
void note_weights(const ModelParts& parts, const Placement& placement, Notes& notes);

/// Throws InvalidRequest about precision where fp8 is asked for and no linear of a transformer could be multiplied so.
/// Throws ModelError.
void check_precision(const ModelParts& parts, const Placement& placement);

/// Throws std::runtime_error where a clip beyond half's range has no room in float32, which no check can foresee: with
/// both needs, in the tiles that it computes in, and the way out. Throws ModelError.
[[noreturn]] void refuse_wide_decode(const ModelParts& parts, const Extent& extent, const Placement& placement,
                                     const VaeTiles& tiles);

}  // namespace wan
