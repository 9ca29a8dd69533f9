#include "tests/fuzz/mutate.h"

#include <algorithm>
#include <cstring>

namespace wan::fuzz {

namespace {
constexpr size_t kMostBytes = 512 << 10, kHeader = 256, kLongestPiece = 64;
}

std::string Mutator::operator()(const std::vector<std::string>& seeds) {
  std::string text = seeds[below(seeds.size())].substr(0, kMostBytes);
  if (rearrange_ && below(2)) {
    text = rearrange_(text, random_);
    if (below(4)) return text.substr(0, kMostBytes);
  }
  for (size_t i = 1 + below(4); i > 0; --i) change(text, seeds);
  return text.substr(0, kMostBytes);
}

size_t Mutator::place(const std::string& text) {
  return below(below(2) ? text.size() : std::min(text.size(), kHeader));
}

void Mutator::put_number(std::string& text) {
  // Sizes and offsets that overflow, that are negative, or that lie just outside.
  const uint64_t numbers[] = {0,
                              1,
                              text.size(),
                              text.size() + 1,
                              0x7f,
                              0xff,
                              0x7fff,
                              0x7fffffff,
                              0x80000000,
                              0xffffffff,
                              uint64_t(1) << 40,
                              INT64_MAX,
                              uint64_t(1) << 63,
                              UINT64_MAX,
                              random_()};
  const uint64_t number = numbers[below(std::size(numbers))];
  const size_t at = place(text), width = std::min(size_t(1) << (1 + below(3)), text.size() - at);
  std::memcpy(text.data() + at, &number, width);
}

void Mutator::change(std::string& text, const std::vector<std::string>& seeds) {
  if (text.empty()) text = "\n";
  const size_t at = place(text), length = std::min(1 + below(kLongestPiece), text.size() - at);
  switch (below(9)) {
    case 0:
    case 1:
      text[at] = char(text[at] ^ (1 << below(8)));
      break;
    case 2:
      text[at] = char(below(256));
      break;
    case 3:
      put_number(text);
      break;
    case 4:
      text.erase(at, length);
      break;
    case 5:
      text.insert(at, text.substr(at, length));
      break;
    case 6:
      text.replace(place(text), 0, text.substr(at, length));
      break;
    case 7: {
      const std::string& other = seeds[below(seeds.size())];
      text.insert(at, other, place(other), length);
      break;
    }
    default:
      text.resize(below(text.size() + 1));
  }
}

}  // namespace wan::fuzz
