// What of a video file has no place in what is read of it: transparency and other tracks.
#include "tests/engine/media_ffmpeg.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"

namespace wan {
namespace {

const std::string kPicture = "-f lavfi -i testsrc=s=64x48:r=16:d=0.5 ";
/// Its left half is half transparent.
const std::string kGlass = "-vf \"format=rgba,geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='if(lt(X,32),128,255)'\" ";
const std::string kOpaque = "-vf format=rgba ";

struct Case {
  const char *name, *options;
};

TEST(VideoTransparency, IsTold) {
  TemporaryFolder folder;
  for (const Case& one : {Case{"rle.mov", "-c:v qtrle -pix_fmt argb"},
                          {"prores.mov", "-c:v prores_ks -profile:v 4444 -pix_fmt yuva444p10le"},
                          {"png.mov", "-c:v png -pix_fmt rgba"}}) {
    SCOPED_TRACE(one.name);
    const std::string path = folder / one.name;
    ffmpeg(kPicture + kGlass + one.options + " '" + path + "'");
    EXPECT_TRUE(read_whole(path).tells(
        "the video has transparent parts; transparency is dropped, and the colours stored under it show"));
    ffmpeg(kPicture + kOpaque + one.options + " '" + path + "'");
    EXPECT_FALSE(read_whole(path).tells("transparen"));
  }
}

TEST(VideoTransparency, OfAGifBecomesWhite) {
  TemporaryFolder folder;
  const std::string path = folder / "a.gif";
  ffmpeg(kPicture +
         "-filter_complex \"format=rgba,geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='if(lt(X,32),0,255)',split[a][b];"
         "[a]palettegen[p];[b][p]paletteuse\" '" +
         path + "'");
  const ReadVideo glass = read_whole(path);
  EXPECT_TRUE(glass.tells("transparency is dropped, and they become white"));
  const at::Tensor left = glass.frames.at(0).rgb.narrow(1, 0, 30);
  EXPECT_EQ(left.min().item<int>(), 255);
  ffmpeg(kPicture + "'" + path + "'");
  EXPECT_FALSE(read_whole(path).tells("transparen"));
}

TEST(VideoTransparency, InASecondStreamIsTold) {
  TemporaryFolder folder;
  const std::string path = folder / "a.webm";
  for (const char* codec : {"libvpx-vp9", "libvpx -auto-alt-ref 0"}) {
    ffmpeg(kPicture + kGlass + "-c:v " + codec + " -pix_fmt yuva420p '" + path + "'");
    EXPECT_TRUE(read_whole(path).tells("the video states that it has transparency; it is dropped")) << codec;
    ffmpeg(kPicture + "-c:v " + codec + " -pix_fmt yuv420p '" + path + "'");
    EXPECT_FALSE(read_whole(path).tells("transparen")) << codec;
  }
}

TEST(VideoTracks, OthersThanTheReadOneAreTold) {
  TemporaryFolder folder;
  const std::string path = folder / "a.mkv";
  ffmpeg(kPicture + "-f lavfi -i color=red:s=32x32:r=16:d=0.5 -map 0 -map 1 -c:v libx264 '" + path + "'");
  EXPECT_TRUE(read_whole(path).tells("the file has 2 video tracks: number 1 is used, the other is left out"));
  // A cover is none.
  const std::string cover = folder / "cover.png", film = folder / "film.mp4";
  ffmpeg(kPicture + "-frames:v 1 '" + cover + "'");
  ffmpeg(kPicture + "-i '" + cover + "' -map 0 -map 1 -c:v:0 libx264 -c:v:1 png -disposition:v:1 attached_pic '" +
         film + "'");
  EXPECT_FALSE(read_whole(film).tells("tracks"));
}

}  // namespace
}  // namespace wan
