#include "engine/serve/net/tls.h"

#include <openssl/ssl.h>

#include <cstring>
#include <string>

#include "engine/base/error.h"

namespace wan::serve {
namespace {

namespace ssl = boost::asio::ssl;

/// Of the protocols that a client offers; without HTTP/1.1 among them the question stays open.
int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* size, const unsigned char* offered,
                    unsigned int offered_size, void*) {
  static constexpr unsigned char kHttp[] = "\x08http/1.1";
  unsigned char* match = nullptr;
  if (SSL_select_next_proto(&match, size, kHttp, sizeof(kHttp) - 1, offered, offered_size) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_NOACK;
  }
  *chosen = match;
  return SSL_TLSEXT_ERR_OK;
}

[[noreturn]] void refuse(const std::string& field, const std::filesystem::path& file, const std::string& wanted,
                         const boost::system::error_code& error) {
  throw InvalidRequest(field, "must be " + wanted + " in PEM, got " + file.string() + ": " + error.message());
}

}  // namespace

std::unique_ptr<ssl::context> make_tls(const std::filesystem::path& certificate, const std::filesystem::path& key) {
  auto context = std::make_unique<ssl::context>(ssl::context::tls_server);
  SSL_CTX* const raw = context->native_handle();
  SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION);
  SSL_CTX_set_options(raw, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(raw, SSL_MODE_RELEASE_BUFFERS);  // of idle connections
  SSL_CTX_set_alpn_select_cb(raw, choose_protocol, nullptr);

  boost::system::error_code error;
  // Without it OpenSSL asks the terminal for the password of a key that has one.
  context->set_password_callback([](size_t, ssl::context::password_purpose) { return std::string(); });
  if (!std::filesystem::is_regular_file(certificate)) {
    throw InvalidRequest("tls_cert", "must be a certificate in PEM, " + certificate.string() + " is no file");
  }
  if (!std::filesystem::is_regular_file(key)) {
    throw InvalidRequest("tls_key", "must be a private key in PEM, " + key.string() + " is no file");
  }
  context->use_certificate_chain_file(certificate.string(), error);
  if (error) refuse("tls_cert", certificate, "a certificate", error);
  context->use_private_key_file(key.string(), ssl::context::pem, error);
  if (error) refuse("tls_key", key, "the certificate's private key without a password", error);
  return context;
}

}  // namespace wan::serve
