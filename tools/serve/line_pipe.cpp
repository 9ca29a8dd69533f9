#include "tools/serve/line_pipe.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>

#include "engine/serve/work/protocol.h"

namespace wan {

std::optional<std::string> LineReader::take() {
  const size_t end = rest_.find('\n', looked_);
  if (end == std::string::npos) {
    looked_ = rest_.size();
    if (looked_ > serve::kMostLine)
      throw std::runtime_error("[stdin] must have lines of at most " + std::to_string(serve::kMostLine) + " bytes");
    return std::nullopt;
  }
  std::string line = rest_.substr(0, end);
  rest_.erase(0, end + 1);
  looked_ = 0;
  return line;
}

std::optional<std::string> LineReader::next(std::chrono::milliseconds most) {
  if (std::optional<std::string> line = take()) return line;
  if (ended_) return std::nullopt;
  pollfd file = {file_, POLLIN, 0};
  const int ready = poll(&file, 1, int(most.count()));
  if (ready == 0 || (ready < 0 && errno == EINTR)) return std::nullopt;
  char piece[64 << 10];
  const ssize_t size = ready < 0 ? -1 : read(file_, piece, sizeof piece);
  if (size < 0 && errno == EINTR) return std::nullopt;
  ended_ = size <= 0;
  if (size > 0) rest_.append(piece, size_t(size));
  return take();
}

void LineWriter::send(const nlohmann::json& message) {
  const std::string line = serve::line_of(message);
  const std::lock_guard lock(mutex_);
  for (size_t done = 0; done < line.size() && !broken_;) {
    const ssize_t written = write(file_, line.data() + done, line.size() - done);
    if (written > 0)
      done += size_t(written);
    else if (written < 0 && errno != EINTR)
      broken_ = true;
  }
}

}  // namespace wan
