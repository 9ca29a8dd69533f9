#include "engine/media/icc.h"

#include <algorithm>
#include <cmath>

namespace wan {
namespace {

// A header of 128 bytes, then a count and entries of 12: name, offset, size.
Bytes tag(Bytes icc, Bytes name) {
  const uint64_t count = std::min<uint64_t>(number(icc, 128, 4, false), 200);
  for (uint64_t i = 0; i < count; ++i) {
    Bytes entry = from(icc, 132 + 12 * i, 12);
    if (starts_with(entry, name)) return from(icc, number(entry, 4, 4, false), number(entry, 8, 4, false));
  }
  return {};
}

// Of version 2 in ASCII ("desc"), of version 4 in UTF-16 ("mluc"), of which ASCII is kept.
std::string description(Bytes icc) {
  const Bytes text = tag(icc, "desc");
  std::string name;
  if (starts_with(text, "desc")) {
    name = from(text, 12, number(text, 8, 4, false));
  } else if (starts_with(text, "mluc")) {
    Bytes wide = from(text, number(text, 24, 4, false), number(text, 20, 4, false));
    for (size_t i = 0; i + 1 < wide.size(); i += 2) name += wide[i] == 0 ? wide[i + 1] : '?';
  }
  name.resize(std::min(name.find('\0'), name.size()));
  return name;
}

// X, Y, Z of the primaries under D50.
bool has_srgb_primaries(Bytes icc) {
  constexpr double kSrgb[3][3] = {{0.4361, 0.2225, 0.0139}, {0.3851, 0.7169, 0.0971}, {0.1431, 0.0606, 0.7141}};
  constexpr Bytes kNames[3] = {"rXYZ", "gXYZ", "bXYZ"};
  for (int i = 0; i < 3; ++i) {
    Bytes xyz = tag(icc, kNames[i]);
    for (int j = 0; j < 3; ++j) {
      const double value = int32_t(number(xyz, 8 + 4 * size_t(j), 4, false)) / 65536.0;
      if (std::abs(value - kSrgb[i][j]) > 0.004) return false;
    }
  }
  return true;
}

}  // namespace

std::string foreign_profile(Bytes icc) {
  if (from(icc, 36, 4) != "acsp" || from(icc, 16, 4) != "RGB ") return {};
  const std::string name = description(icc);
  const bool linear = name.find("inear") != name.npos;
  if (!linear && (name.find("sRGB") != name.npos || has_srgb_primaries(icc))) return {};
  return name.empty() ? "without a name" : name;
}

}  // namespace wan
