#include "models/files/digest.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <stdexcept>
#include <system_error>

namespace wan {

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
  static void check(bool done) {
    if (!done) throw std::runtime_error("[sha256] libcrypto refuses the digest SHA-256");
  }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  State::check(state_->context && EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr) == 1);
}

Sha256::~Sha256() = default;

void Sha256::add(std::string_view bytes) {
  State::check(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1);
}

std::string Sha256::hex() {
  std::array<uint8_t, 32> digest;
  State::check(EVP_DigestFinal_ex(state_->context, digest.data(), nullptr) == 1);
  std::string text;
  for (uint8_t byte : digest)
    for (int digit : {byte >> 4, byte & 15}) text += "0123456789abcdef"[digit];
  return text;
}

std::string sha256(const std::vector<std::string_view>& parts) {
  Sha256 digest;
  for (std::string_view part : parts) digest.add(part);
  return digest.hex();
}

FileContent content_of_file(const std::filesystem::path& path, const std::function<void(uint64_t)>& read) {
  const struct Descriptor {
    int number;
    ~Descriptor() {
      if (number >= 0) close(number);
    }
  } file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};  // O_NONBLOCK: a pipe answers at once
  if (file.number < 0) throw std::system_error(errno, std::generic_category());
  FileContent content;
  Sha256 digest;
  std::vector<char> buffer(1 << 20);
  for (;;) {
    const ssize_t count = ::read(file.number, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw std::system_error(errno, std::generic_category());
    if (count == 0) break;
    digest.add({buffer.data(), size_t(count)});
    content.size += uint64_t(count);
    if (read) read(uint64_t(count));
  }
  content.sha256 = digest.hex();
  return content;
}

}  // namespace wan
