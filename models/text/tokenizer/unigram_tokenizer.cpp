#include "models/text/tokenizer/unigram_tokenizer.h"

#include <algorithm>

namespace wan::text {

std::vector<int64_t> UnigramTokenizer::encode(std::string_view text, int64_t most) const {
  std::vector<int64_t> ids = before;
  const auto add_normalised = [&](std::string_view normalised, bool first) {
    for (const Segment& segment : normalized.split(normalised)) {
      if (segment.id >= 0) {
        ids.push_back(segment.id);
        continue;
      }
      const bool at_start = first && segment.text.data() == normalised.data();
      for (const std::string& part : metaspace(segment.text, at_start)) model.encode(part, ids);
    }
  };
  for (const Segment& segment : literal.split(text)) {
    if (segment.id >= 0)
      ids.push_back(segment.id);
    else
      add_normalised(normalizer(std::string(segment.text)), segment.text.data() == text.data());
  }
  const int64_t kept = std::min(std::ssize(ids), std::max<int64_t>(most - std::ssize(behind), 0));
  ids.resize(kept);
  ids.insert(ids.end(), behind.begin(), behind.end());
  return ids;
}

}  // namespace wan::text
