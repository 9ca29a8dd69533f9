// libav* objects with owners, and one form of its errors. Included by this folder's .cpp files only.
#pragma once

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavcodec/bsf.h>
#include <libavformat/avformat.h>
#include <libavutil/avstring.h>
#include <libavutil/cpu.h>
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswresample/swresample.h>
#include <libswscale/swscale.h>
}

#include <memory>
#include <string>

namespace wan::av {

template <typename T, void (*free_pointer)(T**)>
struct FreeWith {
  void operator()(T* object) const { free_pointer(&object); }
};
struct FreeScaler {
  void operator()(SwsContext* scaler) const { sws_freeContext(scaler); }
};

using Frame = std::unique_ptr<AVFrame, FreeWith<AVFrame, av_frame_free>>;
using Packet = std::unique_ptr<AVPacket, FreeWith<AVPacket, av_packet_free>>;
using Codec = std::unique_ptr<AVCodecContext, FreeWith<AVCodecContext, avcodec_free_context>>;
using Parameters = std::unique_ptr<AVCodecParameters, FreeWith<AVCodecParameters, avcodec_parameters_free>>;
using Filter = std::unique_ptr<AVBSFContext, FreeWith<AVBSFContext, av_bsf_free>>;
using Resampler = std::unique_ptr<SwrContext, FreeWith<SwrContext, swr_free>>;
using Scaler = std::unique_ptr<SwsContext, FreeScaler>;

/// A fresh object of each kind; throws std::bad_alloc.
Frame new_frame();
Packet new_packet();

/// A decoder for these parameters, or for this codec alone, not yet opened. Null where this build of libavcodec has
/// none.
Codec new_decoder(AVCodecID codec, const AVCodecParameters* parameters = nullptr);

/// A libav* or errno code in words of ours or the system's, e.g. "No space left on device".
std::string error_text(int code);

/// Throws std::runtime_error "<doing>: <error text>" where `code` is negative; otherwise returns it.
int check(int code, const std::string& doing);

/// Silences libav*'s and x264's own lines on stderr: what went wrong is in the exception. Cheap; every entry calls it.
void silence();

/// Makes `codec` refuse pictures above `pixels` before it allocates them, and notes their size. `limit` must outlive
/// it.
struct PictureLimit {
  int64_t pixels = 0;
  int width = 0, height = 0;  // the first refused picture; 0 where none was
};
void limit_pictures(AVCodecContext& codec, PictureLimit& limit);

}  // namespace wan::av
