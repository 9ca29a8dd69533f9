#include "engine/media/picture.h"

#include "engine/base/text.h"
#include "engine/media/icc.h"

namespace wan {
namespace {

constexpr int kPq = 16, kHlg = 18;  // H.273, transfer characteristics

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
  if (picture.more) {
    notes.add({field, "the file holds more than one picture; the first is used", "save the wanted one by itself"});
  }
}

}  // namespace wan
