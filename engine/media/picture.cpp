#include "engine/media/picture.h"

#include <cmath>

#include "engine/base/text.h"
#include "engine/media/icc.h"

namespace wan {
namespace {

constexpr int kPq = 16, kHlg = 18;  // H.273, transfer characteristics
constexpr int kUnspecified = 2;     // of its colour primaries
constexpr double kGamma = 0.45455;

}  // namespace

void tell(const Picture& picture, const std::string& field, Notes& notes) {
  if (picture.transparent) {
    notes.add({field,
               std::string("the picture has transparent parts; transparency is dropped, and ") +
                   (picture.white_under ? "they become white" : "the colours stored under it show"),
               "save it on a background"});
  }
  if (picture.bits > 8) notes.add({field, "the picture has more than 8 bits a channel, which are cut to 8"});
  if (picture.cmyk) {
    notes.add({field, "the picture is CMYK and is converted without a colour profile", "save it as sRGB"});
  }
  const std::string profile = foreign_profile(picture.profile);
  if (!profile.empty()) {
    notes.add({field, "the picture has the colour profile " + shown(profile) + ", and its colours are taken as sRGB",
               "convert it to sRGB"});
  }
  if (picture.transfer == kPq || picture.transfer == kHlg) {
    notes.add({field,
               std::string("the picture is HDR (") + (picture.transfer == kPq ? "PQ" : "HLG") +
                   "), is taken as sRGB and looks washed out",
               "save it as sRGB"});
  }
  if (picture.profile_lost)
    notes.add({field, "the picture's colour profile is damaged and left out: its colours are taken as sRGB"});
  const bool hdr = picture.transfer == kPq || picture.transfer == kHlg;
  if (!hdr && picture.profile.empty() && picture.primaries > 1 && picture.primaries != kUnspecified)
    notes.add({field,
               "the picture states other colours than sRGB (primaries " + std::to_string(picture.primaries) +
                   " of H.273), and they are taken as sRGB",
               "convert it to sRGB"});
  if (!hdr && picture.profile.empty() && picture.gamma > 0 && std::abs(picture.gamma - kGamma) > 0.05)
    notes.add(
        {field,
         "the picture states a gamma of " + decimals(picture.gamma) + " where sRGB has 0.45, and is taken as sRGB",
         "convert it to sRGB"});
  if (picture.more) {
    notes.add({field, "the file holds more than one picture; the first is used", "save the wanted one by itself"});
  }
}

}  // namespace wan
