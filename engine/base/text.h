// How an error quotes what came and names what may have been meant.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/files/public_url.h"

namespace wan {

/// The value on one line, cut after `longest` bytes: text in quotes, control characters and broken UTF-8 escaped.
std::string shown(const nlohmann::json& value, size_t longest = 60);
/// A path in quotes, as shown_name says it. What looks like a URL is shown as shown_url does.
std::string shown_path(const std::string& path);
/// A URL in quotes, without what public_url leaves out, cut where it is long; of a data URL what stands before its
/// content.
std::string shown_url(const std::string& url);

/// "0.42 s", "12 s", "1 min 20 s", "2 h 5 min".
std::string duration(double seconds);

/// "57.15 GB"; below 10 MB "0.51 MB". Powers of ten.
std::string gigabytes(uint64_t bytes);

/// "1.94": two decimals.
std::string decimals(double value);

/// The candidate with the fewest letters to insert, delete, replace or swap, or one that has `word` among its words
/// (steps: num_inference_steps) or as their first letters (fps: frames_per_second); the first of equals. Empty where none
/// shares about half of its letters with the word.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);
/// "; the nearest is NAME"; empty where none is near.
std::string nearest_text(std::string_view word, const std::vector<std::string>& candidates);

/// "[16, 21, 90, 160]"; of a long list the first eight and how many more there are.
std::string shown_shape(std::span<const int64_t> shape);

/// "a, b or c".
std::string either(const std::vector<std::string>& words, const char* last = " or ");
}  // namespace wan
