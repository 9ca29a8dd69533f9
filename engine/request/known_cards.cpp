#include "engine/request/known_cards.h"

#include <algorithm>
#include <cstdlib>

namespace wan {

namespace {

/// Letters and digits alone, in lower case, without the maker's and the families' names.
std::string bare(const std::string& name) {
  std::string text;
  for (const char letter : name)
    if ((letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9'))
      text += letter;
    else if (letter >= 'A' && letter <= 'Z')
      text += char(letter - 'A' + 'a');
  for (const char* word : {"nvidia", "geforce", "rtx", "sxm5", "sxm4", "hbm3e", "hbm3", "hbm2e", "pcie", "sxm"})
    for (size_t at; (at = text.find(word)) != std::string::npos;) text.erase(at, std::string(word).size());
  return text;
}

uint64_t distance(uint64_t a, uint64_t b) {
  return a > b ? a - b : b - a;
}

}  // namespace

// GeForce cards of Ampere, Ada and Blackwell sum float32 at half their rate of float16 sums: the former is listed. What
// products reach of it is taken from published runs: boards with a power limit reach less of a higher figure.
const std::vector<Card>& known_cards() {
  static const std::vector<Card> cards = {
      {"RTX 4070", 12282, 58.3, 233, 504, 22, 0.85, 0.75},
      {"RTX 3060", 12288, 25.6, 102, 360, 22, 0.85, 0.75},
      {"RTX 4080", 16376, 97.5, 390, 717, 22, 0.85, 0.75},
      {"RTX 5080", 16303, 112.6, 450, 960, 45, 0.85, 0.75},
      {"RTX 4060 Ti", 16380, 44, 177, 288, 11, 0.85, 0.75},
      {"RTX 4090", 24564, 165.2, 660, 1008, 22, 0.85, 0.75},
      {"RTX 3090", 24576, 71, 284, 936, 22, 0.85, 0.75},
      {"A10", 23028, 125, 250, 600, 22, 0.6, 0.5},
      {"L4", 23034, 121, 242, 300, 22, 0.5, 0.4},
      {"RTX 5090", 32607, 209.5, 838, 1792, 45, 0.85, 0.75},
      {"A100 40GB", 40960, 312, 624, 1555, 22, 0.75, 0.6},
      {"L40S", 46068, 362, 733, 864, 22, 0.65, 0.55},
      {"RTX A6000", 49140, 154.8, 309.7, 768, 22, 0.75, 0.65},
      {"RTX 6000 Ada", 49140, 364, 728, 960, 22, 0.65, 0.55},
      {"H100", 81559, 989, 1979, 3350, 50, 0.75, 0.6},
      {"A100 80GB", 81920, 312, 624, 2039, 22, 0.75, 0.6},
      {"RTX PRO 6000", 97887, 503, 1007, 1792, 45, 0.75, 0.65},
      {"H200", 143771, 989, 1979, 4800, 50, 0.75, 0.6},
      {"B200", 183359, 2250, 4500, 8000, 50, 0.7, 0.6},
  };
  return cards;
}

const Card* card_named(const std::string& name) {
  const std::string wanted = bare(name);
  for (const Card& card : known_cards())
    if (bare(card.name) == wanted) return &card;
  // The driver's name may say more: "H100 80GB HBM3", "RTX PRO 6000 Blackwell Server Edition".
  const Card* found = nullptr;
  for (const Card& card : known_cards()) {
    const std::string known = bare(card.name);
    if (known.size() < 4 || !wanted.starts_with(known)) continue;
    const std::string rest = wanted.substr(known.size());
    const bool digits = rest[0] >= '0' && rest[0] <= '9';
    if (digits && rest != "80gb") continue;
    if (!found || known.size() > bare(found->name).size()) found = &card;
  }
  return found;
}

const Card& card_of_size(uint64_t bytes) {
  const std::vector<Card>& cards = known_cards();
  for (const Card& card : cards)
    if (distance(card.memory(), bytes) <= card.memory() / 8) return card;
  return *std::min_element(cards.begin(), cards.end(), [&](const Card& a, const Card& b) {
    return distance(a.memory(), bytes) < distance(b.memory(), bytes);
  });
}

}  // namespace wan
