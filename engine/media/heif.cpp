#include "engine/media/heif.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include "engine/media/heif_items.h"
#include "engine/media/image_reader.h"

#ifdef WAN_HEIF
#include <libheif/heif.h>
#endif

namespace wan {

bool is_heif(Bytes file) {
  if (from(file, 4, 4) != "ftyp") return false;
  const size_t end = std::min<size_t>(number(file, 0, 4, false), 512);
  for (size_t at = 8; at < end; at += 4) {
    for (Bytes brand : {"avif", "avis", "heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1"}) {
      if (at != 12 && from(file, at, 4) == brand) return true;  // at 12 stands a version
    }
  }
  return false;
}

bool reads_heif() {
#ifdef WAN_HEIF
  return true;
#else
  return false;
#endif
}

#ifndef WAN_HEIF
Picture read_heif(const av::Source& source, Bytes, int64_t) {
  source.refuse("an AVIF or HEIC picture, for which this program is built without libheif; save it as PNG or JPEG");
}
#else
namespace {

template <typename T, auto release>
struct Release {
  void operator()(T* object) const { release(object); }
};
using Context = std::unique_ptr<heif_context, Release<heif_context, heif_context_free> >;
using Handle = std::unique_ptr<heif_image_handle, Release<heif_image_handle, heif_image_handle_release> >;
using Image = std::unique_ptr<heif_image, Release<heif_image, heif_image_release> >;
using Options = std::unique_ptr<heif_decoding_options, Release<heif_decoding_options, heif_decoding_options_free> >;
using Nclx = std::unique_ptr<heif_color_profile_nclx, Release<heif_color_profile_nclx, heif_nclx_color_profile_free> >;

void check(const av::Source& source, const heif_error& error) {
  switch (error.code) {
    case heif_error_Ok:
      return;
    case heif_error_Memory_allocation_error:
      source.refuse("it is damaged or needs too much memory; save it as PNG or JPEG");
    case heif_error_Unsupported_filetype:
    case heif_error_Unsupported_feature:
      source.refuse("a form of AVIF or HEIC that is not read; save it as PNG or JPEG");
    default:
      source.refuse("it is damaged or truncated");
  }
}

void check_size(const av::Source& source, int64_t width, int64_t height, int64_t most_pixels) {
  if (width <= 0 || height <= 0) source.refuse("it is damaged");
  if (height <= most_pixels / width) return;
  source.refuse("it has " + std::to_string(width) + "x" + std::to_string(height) + " pixels, at most " +
                std::to_string(most_pixels / 1'000'000) + " million are read");
}

/// libheif allocates what the content of an item asks for, whatever the file says of its size. Of a frame, the coded size
/// may be a block larger than what is shown.
void check_items(const av::Source& source, Bytes file, int64_t most_pixels) {
  constexpr uint64_t kBlock = 128;
  const auto items = heif_items(file);
  if (!items) source.refuse("it is damaged: it has more parts than a picture needs");
  for (const auto& [number, item] : *items) {
    const PixelSize real = item.real(), stated = item.stated;
    if (real.width == 0 || real.height == 0) continue;
    if (stated.width > 0 && (real.width > stated.width + kBlock || real.height > stated.height + kBlock))
      source.refuse("it is damaged: it says " + std::to_string(stated.width) + "x" + std::to_string(stated.height) +
                    " pixels and holds " + std::to_string(real.width) + "x" + std::to_string(real.height));
    check_size(source, int64_t(real.width), int64_t(real.height), most_pixels);
  }
}

std::string profile_of(const heif_image_handle* handle) {
  std::string profile(std::min<size_t>(heif_image_handle_get_raw_color_profile_size(handle), 4 << 20), '\0');
  if (profile.empty() || heif_image_handle_get_raw_color_profile_size(handle) != profile.size()) return {};
  return heif_image_handle_get_raw_color_profile(handle, profile.data()).code == heif_error_Ok ? profile : "";
}

int transfer_of(const heif_image_handle* handle) {
  heif_color_profile_nclx* nclx = nullptr;
  if (heif_image_handle_get_nclx_color_profile(handle, &nclx).code != heif_error_Ok || !nclx) return 0;
  return int(Nclx(nclx)->transfer_characteristics);
}

/// Interleaved pixels of the channels wanted.
Image decode(const av::Source& source, const heif_image_handle* handle) {
  const Options options(heif_decoding_options_alloc());
  if (!options) throw std::bad_alloc();
  options->convert_hdr_to_8bit = 1;
  heif_image* image = nullptr;
  check(source, heif_decode_image(handle, &image, heif_colorspace_RGB,
                                  heif_image_handle_has_alpha_channel(handle) ? heif_chroma_interleaved_RGBA
                                                                              : heif_chroma_interleaved_RGB,
                                  options.get()));
  Image owned(image);
  if (heif_image_get_decoding_warnings(image, 0, nullptr, 0) > 0) source.refuse("it is damaged or truncated");
  return owned;
}

at::Tensor pixels_of(const av::Source& source, const heif_image* image, int64_t channels) {
  const int64_t height = heif_image_get_primary_height(image), width = heif_image_get_primary_width(image);
  int stride = 0;
  const uint8_t* plane = heif_image_get_plane_readonly(image, heif_channel_interleaved, &stride);
  if (!plane || height <= 0 || width <= 0 || stride < width * channels) source.refuse("it is damaged");
  at::Tensor pixels = at::empty({height, width, channels}, at::kByte);
  for (int64_t y = 0; y < height; ++y) {
    std::memcpy(pixels.data_ptr<uint8_t>() + y * width * channels, plane + y * stride, size_t(width * channels));
  }
  return pixels;
}

}  // namespace

Picture read_heif(const av::Source& source, Bytes file, int64_t most_pixels) {
  check_items(source, file, most_pixels);
  const Context context(heif_context_alloc());
  if (!context) throw std::bad_alloc();
  check(source, heif_context_read_from_memory_without_copy(context.get(), file.data(), file.size(), nullptr));
  heif_image_handle* primary = nullptr;
  check(source, heif_context_get_primary_image_handle(context.get(), &primary));
  const Handle handle(primary);
  // As it is decoded, and as it is shown after turns and cuts.
  check_size(source, heif_image_handle_get_ispe_width(primary), heif_image_handle_get_ispe_height(primary),
             most_pixels);
  check_size(source, heif_image_handle_get_width(primary), heif_image_handle_get_height(primary), most_pixels);
  const bool alpha = heif_image_handle_has_alpha_channel(primary);
  const at::Tensor pixels = pixels_of(source, decode(source, primary).get(), alpha ? 4 : 3);
  return {.rgb = pixels.narrow(2, 0, 3).contiguous(),
          .bits = heif_image_handle_get_luma_bits_per_pixel(primary),
          .transparent = alpha && pixels.select(2, 3).min().item<int>() < 255,
          .more = heif_context_get_number_of_top_level_images(context.get()) > 1 || from(file, 8, 4) == "avis",
          .profile = profile_of(primary),
          .transfer = transfer_of(primary)};
}
#endif

}  // namespace wan
