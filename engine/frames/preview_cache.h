// Fitted maps of previews, kept from run to run.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "models/vae/latent_rgb.h"

namespace wan {

/// One small file for each VAE in a folder that several processes may share; an empty folder keeps nothing.
class PreviewCache {
 public:
  explicit PreviewCache(std::filesystem::path folder) : folder_(std::move(folder)) {}

  /// The map of the VAE whose files have these digests (FileIdentity::digest, with spaces between). Nothing where there is
  /// none, or where its file is damaged, another VAE's or that of another way of fitting (kPreviewFit).
  std::optional<vae::LatentRgb> find(const std::string& vae) const;
  /// Whole or not at all. A folder that cannot be written is left alone: that costs a fit in the next process, no error.
  void keep(const std::string& vae, const vae::LatentRgb& map) const;
  /// Where the map of this VAE is kept; empty without a folder.
  std::filesystem::path file_of(const std::string& vae) const;

 private:
  std::filesystem::path folder_;
};

}  // namespace wan
