#include "engine/base/listing.h"

#include "engine/base/text.h"

namespace wan {

std::string listed(std::vector<std::string> words) {
  if (words.size() > kListedNames) {
    const std::string more = std::to_string(words.size() - kListedNames) + " more";
    words.resize(kListedNames);
    words.push_back(more);
  }
  return either(words, " and ");
}

}  // namespace wan
