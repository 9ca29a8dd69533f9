// Colours of videos: matrices that are stated or not, HDR, wide gamuts. Levels are compared with the standards' formulas.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include <gtest/gtest.h>
#include "engine/media/rgb.h"

#include "tests/engine/media_ffmpeg.h"
#include "tests/support.h"

namespace wan {
namespace {

using Colour = std::array<double, 3>;

/// A lossless clip of one colour (R'G'B' of 8 bits), its matrix by `matrix` of the scale filter, its tags by `tags`.
void write_colour(const std::string& path, const std::string& hex, const std::string& matrix, const std::string& tags,
                  const std::string& size = "64x48", const std::string& format = "yuv444p10") {
  ffmpeg("-f lavfi -i color=0x" + hex + ":s=" + size + ":r=16:d=0.2 -vf format=gbrp,scale=out_color_matrix=" + matrix +
         ":out_range=tv:flags=accurate_rnd+full_chroma_int,format=" + format +
         ",setparams=colorspace=unknown -c:v ffv1 " + tags + " " + path);
}

void expect_colour(const std::vector<int64_t>& got, const Colour& want, double levels) {
  for (size_t c = 0; c < 3; ++c) EXPECT_NEAR(double(got[c]), want[c], levels) << "channel " << c;
}

// BT.2020 to BT.709 in linear light (BT.2087).
Colour from_2020(const Colour& c) {
  return {1.6605 * c[0] - 0.5876 * c[1] - 0.0728 * c[2], -0.1246 * c[0] + 1.1329 * c[1] - 0.0083 * c[2],
          -0.0182 * c[0] - 0.1006 * c[1] + 1.1187 * c[2]};
}

// Linear light, 1 being white, to a BT.1886 screen's levels.
Colour to_levels(Colour c) {
  for (double& value : c) value = 255 * std::pow(std::clamp(value, 0.0, 1.0), 1 / 2.4);
  return c;
}

// SMPTE ST 2084: nits of a level.
double pq_nits(double level) {
  const double m1 = 2610.0 / 16384, m2 = 2523.0 / 4096 * 128, c1 = 3424.0 / 4096, c2 = 2413.0 / 4096 * 32,
               c3 = 2392.0 / 4096 * 32, x = std::pow(level, 1 / m2);
  return 10'000 * std::pow(std::max(x - c1, 0.0) / (c2 - c3 * x), 1 / m1);
}

// BT.2100: nits of an HLG colour on a screen of 1000 nits.
Colour hlg_nits(Colour c) {
  constexpr double kA = 0.17883277, kB = 1 - 4 * kA, kC = 0.55991073;
  for (double& value : c) value = value <= 0.5 ? value * value / 3 : (std::exp((value - kC) / kA) + kB) / 12;
  const double gain = 1000 * std::pow(0.2627 * c[0] + 0.6780 * c[1] + 0.0593 * c[2], 0.2);
  for (double& value : c) value *= gain;
  return c;
}

// Light in nits of BT.2020 to levels: white at 203 nits (BT.2408), above 0.3 of it a hyperbola that reaches 1 at the peak.
Colour tone_mapped(Colour nits, double peak_nits) {
  for (double& value : nits) value /= 203;
  Colour c = from_2020(nits);
  const double light = std::max({c[0], c[1], c[2]}), j = 0.3, peak = peak_nits / 203;
  const double a = -j * j * (peak - 1) / (j * j - 2 * j + peak), b = (j * j - 2 * j * peak + peak) / (peak - 1);
  const double mapped = light <= j ? light : (b * b + 2 * b * j + j * j) / (b - a) * (light + a) / (light + b);
  for (double& value : c) value *= mapped / light;
  return to_levels(c);
}

const char* const kPq = "-color_trc smpte2084 -color_primaries bt2020 -colorspace bt2020nc";
const char* const kHlg = "-color_trc arib-std-b67 -color_primaries bt2020 -colorspace bt2020nc";

TEST(VideoColour, AnUntaggedMatrixIsThatOfPlayers) {
  TemporaryFolder folder;
  const std::string path = (folder / "v.mkv").string();
  for (const auto& [size, matrix] : {std::pair{"1280x536", "709"},
                                     {"1284x64", "709"},
                                     {"64x578", "709"},
                                     {"720x576", "601"},
                                     {"1278x576", "601"},
                                     {"64x48", "601"}}) {
    SCOPED_TRACE(size);
    write_colour(path, "28B43C", "bt" + std::string(matrix), "", size, "yuv444p");
    const ReadVideo got = read_whole(path);
    expect_colour(got.colour(), {40, 180, 60}, 2);
    EXPECT_TRUE(got.tells("does not state its colour matrix: BT." + std::string(matrix) + " is assumed"));
    EXPECT_EQ(got.notes.size(), 1u);
  }
  write_colour(path, "28B43C", "bt709", "-colorspace bt709", "64x48", "yuv444p");
  expect_colour(read_whole(path).colour(), {40, 180, 60}, 2);
  EXPECT_TRUE(read_whole(path).notes.empty());
  ffmpeg("-f lavfi -i color=0x28B43C:s=1280x720:r=16:d=0.2 -vf format=gbrp -c:v ffv1 " + path);
  expect_colour(read_whole(path).colour(), {40, 180, 60}, 0);
  EXPECT_TRUE(read_whole(path).notes.empty());
}

TEST(VideoColour, HdrIsToneMapped) {
  TemporaryFolder folder;
  const std::string path = (folder / "v.mkv").string();
  for (const char* hex : {"949494", "404040", "C0C0C0", "945050", "305090"}) {
    SCOPED_TRACE(hex);
    const long value = std::stol(hex, nullptr, 16);
    const Colour code = {double(value >> 16) / 255, double(value >> 8 & 255) / 255, double(value & 255) / 255};
    write_colour(path, hex, "bt2020", kPq);
    const ReadVideo pq = read_whole(path);
    expect_colour(pq.colour(), tone_mapped({pq_nits(code[0]), pq_nits(code[1]), pq_nits(code[2])}, 1000), 2);
    EXPECT_TRUE(pq.tells("HDR (PQ, BT.2020): it is tone-mapped to SDR (BT.709), for a peak of 1000 nits"));
    write_colour(path, hex, "bt2020", kHlg);
    const ReadVideo hlg = read_whole(path);
    expect_colour(hlg.colour(), tone_mapped(hlg_nits(code), 1000), 3);
    EXPECT_TRUE(hlg.tells("HDR (HLG, BT.2020)"));
    EXPECT_EQ(hlg.notes.size(), 1u);
  }
}

TEST(VideoColour, HdrOfOddSizesAndOtherLayoutsIsTheSame) {
  TemporaryFolder folder;
  const std::string path = (folder / "v.mkv").string();
  const double nits = pq_nits(0x94 / 255.0);
  for (const auto& [size, format] : {std::pair{"65x49", "yuv420p10"}, {"64x48", "yuv422p10"}, {"64x48", "yuv420p"}}) {
    SCOPED_TRACE(format);
    write_colour(path, "949494", "bt2020", kPq, size, format);
    expect_colour(read_whole(path).colour(), tone_mapped({nits, nits, nits}, 1000), 3);
  }
}

TEST(VideoColour, TheStatedPeakCounts) {
  TemporaryFolder folder;
  const std::string path = (folder / "v.mp4").string();
  ffmpeg(
      "-f lavfi -i color=0xC0C0C0:s=64x64:r=16:d=0.2 -vf format=gbrp,scale=out_color_matrix=bt2020,format=yuv444p10 "
      "-c:v libx265 -x265-params log-level=error:qp=1:max-cll=4000,400:colorprim=bt2020:transfer=smpte2084:"
      "colormatrix=bt2020nc " +
      path);
  const double nits = pq_nits(0xC0 / 255.0);
  const ReadVideo got = read_whole(path);
  expect_colour(got.colour(), tone_mapped({nits, nits, nits}, 4000), 3);
  EXPECT_TRUE(got.tells("for a peak of 4000 nits"));
}

TEST(VideoColour, WideGamutsBecomeBt709) {
  TemporaryFolder folder;
  const std::string path = (folder / "v.mkv").string();
  write_colour(path, "A07840", "bt2020", "-color_trc bt2020-10 -color_primaries bt2020 -colorspace bt2020nc");
  Colour linear = {0xA0, 0x78, 0x40};
  for (double& value : linear) value = std::pow(value / 255, 2.4);
  const ReadVideo got = read_whole(path);
  expect_colour(got.colour(), to_levels(from_2020(linear)), 2);
  EXPECT_TRUE(got.tells("wide colours of BT.2020"));
}

/// A picture of one YUV colour, 8 bits of full range, with the tags.
av::Frame picture(const Colour& yuv, int matrix, int primaries, int transfer) {
  av::Frame frame = av::new_frame();
  frame->width = frame->height = 16;
  frame->format = AV_PIX_FMT_YUV444P;
  frame->color_range = AVCOL_RANGE_JPEG;
  frame->colorspace = AVColorSpace(matrix);
  frame->color_primaries = AVColorPrimaries(primaries);
  frame->color_trc = AVColorTransferCharacteristic(transfer);
  av::check(av_frame_get_buffer(frame.get(), 0), "a picture");
  for (size_t c = 0; c < 3; ++c) std::memset(frame->data[c], int(std::lround(yuv[c])), size_t(frame->linesize[c]) * 16);
  return frame;
}

std::vector<int64_t> rgb_of(const av::Frame& frame, av::PictureKind kind) {
  const at::Tensor middle = av::RgbConverter(kind)(*frame, 16, 16)[8][8];
  return {middle[0].item<int64_t>(), middle[1].item<int64_t>(), middle[2].item<int64_t>()};
}

// Luma weights of red and blue of the matrices that have the usual form.
Colour with_weights(double red, double blue, const Colour& rgb) {
  const double luma = red * rgb[0] + (1 - red - blue) * rgb[1] + blue * rgb[2];
  return {luma, 128 + (rgb[2] - luma) / (2 * (1 - blue)), 128 + (rgb[0] - luma) / (2 * (1 - red))};
}

TEST(VideoColour, EveryMatrixIsRightOrRefused) {
  const Colour rgb = {40, 180, 60};
  for (const av::PictureKind kind : {av::PictureKind::Image, av::PictureKind::Video}) {
    auto got = [&](int matrix, const Colour& yuv, int primaries = AVCOL_PRI_BT709) {
      return rgb_of(picture(yuv, matrix, primaries, AVCOL_TRC_BT709), kind);
    };
    expect_colour(got(AVCOL_SPC_BT709, with_weights(0.2126, 0.0722, rgb)), rgb, 2);
    expect_colour(got(AVCOL_SPC_FCC, with_weights(0.30, 0.11, rgb)), rgb, 2);
    expect_colour(got(AVCOL_SPC_BT470BG, with_weights(0.299, 0.114, rgb)), rgb, 2);
    expect_colour(got(AVCOL_SPC_SMPTE170M, with_weights(0.299, 0.114, rgb)), rgb, 2);
    expect_colour(got(AVCOL_SPC_SMPTE240M, with_weights(0.212, 0.087, rgb)), rgb, 2);
    expect_colour(got(AVCOL_SPC_BT2020_NCL, with_weights(0.2627, 0.0593, rgb)), rgb, 2);
    expect_colour(got(AVCOL_SPC_CHROMA_DERIVED_NCL, with_weights(0.2126, 0.0722, rgb)), rgb, 2);
    const Colour ycgco = {(rgb[0] + 2 * rgb[1] + rgb[2]) / 4, 128 + (2 * rgb[1] - rgb[0] - rgb[2]) / 4,
                          128 + (rgb[0] - rgb[2]) / 2};
    expect_colour(got(AVCOL_SPC_YCGCO, ycgco), rgb, 2);
    // Not stated, or stated as no matrix at all: BT.601 at this size.
    for (int none : {AVCOL_SPC_UNSPECIFIED, AVCOL_SPC_RESERVED, AVCOL_SPC_RGB})
      expect_colour(got(none, with_weights(0.299, 0.114, rgb)), rgb, 2);
    for (int unknown : {int(AVCOL_SPC_SMPTE2085), 15, 16, 17, 200}) {
      try {
        got(unknown, {128, 128, 128});
        ADD_FAILURE() << unknown;
      } catch (const av::UnreadableColours& error) {
        EXPECT_NE(std::string(error.what()).find("which cannot be converted; export it as BT.709"), std::string::npos);
      }
    }
  }
}

TEST(VideoColour, MatricesOfZscaleComeBack) {
  TemporaryFolder folder;
  const std::string path = (folder / "v.mkv").string();
  // BT.2020 with constant luminance: as wide colours, and ICtCp: as HDR.
  ffmpeg(
      "-f lavfi -i color=0xA07840:s=64x48:r=16:d=0.2 -vf format=gbrp,zscale=min=gbr:rin=full:pin=bt2020:tin=bt2020-10:"
      "p=bt2020:t=bt2020-10:m=bt2020c:r=limited,format=yuv444p10 -c:v ffv1 -color_trc bt2020-10 -color_primaries "
      "bt2020 -colorspace "
      "bt2020c " +
      path);
  Colour linear = {0xA0, 0x78, 0x40};
  for (double& value : linear) value = std::pow(value / 255, 2.4);
  expect_colour(read_whole(path).colour(), to_levels(from_2020(linear)), 3);
  ffmpeg(
      "-f lavfi -i color=0x945050:s=64x48:r=16:d=0.2 -vf format=gbrp,zscale=min=gbr:rin=full:pin=bt2020:tin=smpte2084:"
      "p=bt2020:t=smpte2084:m=ictcp:r=limited,format=yuv444p10 -c:v ffv1 -color_trc smpte2084 -color_primaries bt2020 "
      "-colorspace ictcp " +
      path);
  const double red = pq_nits(0x94 / 255.0), rest = pq_nits(0x50 / 255.0);
  expect_colour(read_whole(path).colour(), tone_mapped({red, rest, rest}, 1000), 3);
  ffmpeg("-i " + path + " -c:v ffv1 -vf setparams=color_trc=unknown " + (folder / "w.mkv").string());
  EXPECT_NE(refusal_of((folder / "w.mkv").string()).find("does not state whether they are PQ or HLG"),
            std::string::npos);
}

TEST(VideoColour, WithoutTheFiltersTheWayOutIsNamed) {
  auto why = [](int matrix, int transfer) -> std::string {
    try {
      av::colours_of(*picture({128, 128, 128}, matrix, AVCOL_PRI_BT709, transfer), av::PictureKind::Video, 0,
                     [](const std::string& filter) { return filter == "tonemap"; });
      return "";
    } catch (const av::UnreadableColours& error) {
      return error.what();
    }
  };
  const std::string hdr = why(AVCOL_SPC_BT2020_NCL, AVCOL_TRC_SMPTE2084);
  EXPECT_EQ(
      hdr.find("it has HDR colours, and the FFmpeg that this program runs with lacks the filter zscale; convert it "
               "to BT.709 first"),
      0u)
      << hdr;
  EXPECT_NE(hdr.find("ffmpeg -i IN -vf zscale=t=linear"), std::string::npos);
  EXPECT_NE(why(AVCOL_SPC_YCGCO, AVCOL_TRC_BT709).find("the colour matrix ycgco"), std::string::npos);
  EXPECT_EQ(why(AVCOL_SPC_BT709, AVCOL_TRC_BT709), "");
}

}  // namespace
}  // namespace wan
