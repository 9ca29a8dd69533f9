#include "engine/media/inflated.h"

#include <zlib.h>

#include <new>

namespace wan {
namespace {

struct Stream : z_stream {
  Stream() : z_stream{} {
    if (inflateInit(this) != Z_OK) throw std::bad_alloc();
  }
  ~Stream() { inflateEnd(this); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
};

}  // namespace

bool inflates_to(const std::vector<Bytes>& pieces, uint64_t size) {
  Stream stream;
  std::vector<Bytef> out(64 << 10);
  for (Bytes piece : pieces) {
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(piece.data()));
    stream.avail_in = uInt(piece.size());
    do {
      stream.next_out = out.data();
      stream.avail_out = uInt(out.size());
      const int code = inflate(&stream, Z_NO_FLUSH);
      if (stream.total_out >= size) return true;
      if (code != Z_OK && code != Z_BUF_ERROR) return false;  // also the end of the stream
    } while (stream.avail_in > 0 || stream.avail_out == 0);
  }
  return false;
}

std::string inflated(Bytes bytes, size_t most) {
  Stream stream;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = uInt(bytes.size());
  std::string out, piece(16 << 10, '\0');
  for (int code = Z_OK; code != Z_STREAM_END;) {
    stream.next_out = reinterpret_cast<Bytef*>(piece.data());
    stream.avail_out = uInt(piece.size());
    code = inflate(&stream, Z_NO_FLUSH);
    if (code != Z_OK && code != Z_STREAM_END) return "";
    out.append(piece, 0, piece.size() - stream.avail_out);
    if (out.size() > most) return "";
  }
  return out;
}

}  // namespace wan
