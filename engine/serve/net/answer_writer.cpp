#include "engine/serve/net/answer_writer.h"

#include <memory>
#include <optional>
#include <vector>

#include "engine/serve/net/event_writer.h"
#include "engine/serve/net/file_reader.h"
#include "engine/serve/net/pool.h"
#include "engine/serve/net/wire.h"

namespace wan::serve {
namespace {

constexpr size_t kPiece = 256 << 10;
// Up to here a body is copied behind its head: one buffer, one call, one record of TLS.
constexpr size_t kSmallBody = 16 << 10;

}  // namespace

Awaitable<bool> AnswerWriter::write(const Answer& answer, const Framing& framing) {
  std::string head;
  std::string failure;
  std::optional<FileReader> file;
  const bool empty = framing.head_only || !has_body(answer.status);
  try {
    head = answer_head(answer, framing, date_.now());
    if (answer.file && !empty) {
      file.emplace(*answer.file);
      co_await pool_.run([&file] { file->open(); });
    }
  } catch (const std::exception& error) {
    failure = error.what();
  }
  if (!failure.empty()) {
    report_("an answer cannot be sent: " + failure);
    const Answer other = internal_error();
    head = answer_head(other, framing, date_.now());
    if (!framing.head_only) head.append(other.body);
    co_return co_await wire_.write(head);
  }
  if (empty) co_return co_await wire_.write(head);
  if (answer.events) co_return co_await write_events(std::move(head), answer, framing);
  if (file) co_return co_await write_file(std::move(head), *file);
  if (answer.body.size() > kSmallBody) co_return co_await wire_.write(head, answer.body);
  head.append(answer.body);
  co_return co_await wire_.write(head);
}

Awaitable<bool> AnswerWriter::write_file(std::string head, FileReader& file) {
  std::vector<char> memory;
  do {
    std::string_view piece;
    std::string failure;
    try {
      piece = co_await pool_.run([&] {
        memory.resize(static_cast<size_t>(std::min<uint64_t>(kPiece, file.left())));
        return file.read(memory);
      });
    } catch (const std::exception& error) {
      failure = error.what();
    }
    // Its length was announced already.
    if (!failure.empty()) {
      report_("a download was broken off: " + failure);
      co_return false;
    }
    if (!co_await wire_.write(head, piece)) co_return false;
    head.clear();
  } while (file.left() > 0);
  co_return true;
}

Awaitable<bool> AnswerWriter::write_events(std::string head, const Answer& answer, const Framing& framing) {
  if (!co_await wire_.write(head)) co_return false;
  EventWriter events(wire_, framing.version >= 11, stops_);
  std::string failure;
  try {
    co_await answer.events(events);
  } catch (const std::exception& error) {
    failure = error.what();
  } catch (...) {
    failure = "what was thrown is no std::exception";
  }
  if (!failure.empty()) {
    report_("a stream of events was broken off: " + failure);
    co_return false;
  }
  co_return co_await events.end();
}

}  // namespace wan::serve
