// Which files make a safety checker.
#pragma once

#include <filesystem>

namespace wan {

/// How a message ends that misses files of one.
inline constexpr const char* kSafetyPublished =
    "; a safety checker is published as Falconsai/nsfw_image_detection (343 MB) and as "
    "CompVis/stable-diffusion-safety-checker (1.2 GB), each with config.json and preprocessor_config.json";

/// Where the files of a safety checker lie.
struct SafetyFiles {
  std::filesystem::path folder;        // of the weights (checkpoint_layout tells which of its files they are)
  std::filesystem::path config;        // its config.json
  std::filesystem::path preprocessor;  // preprocessor_config.json: there, or in the folder feature_extractor beside it
};

/// `place`: a folder as it is published, or that of a whole Stable Diffusion model, whose safety_checker is taken. Reads
/// nothing of the files but config.json where the other one is absent: what is wrong with it is told first. Throws
/// ModelError where one is absent, with what to download.
SafetyFiles find_safety_checker(const std::filesystem::path& place);

}  // namespace wan
