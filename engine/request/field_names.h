// Texts for users of manifests, who write fields and not flags.
#pragma once

#include <string>

namespace wan {

/// The text with each flag of a parameter as its field: "--num-frames makes fewer" becomes "num_frames makes fewer",
/// "--no-keep-audio" "keep_audio false". Other words with two dashes stay, and what lies within a word: "a--seed.mp4".
std::string with_field_names(const std::string& text);

}  // namespace wan
