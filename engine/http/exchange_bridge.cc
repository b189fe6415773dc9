// WebSocket over HTTP/2 (RFC 8441): what the client asked becomes the request of HTTP/1.1 that
// configurations and upstreams know, and its answer becomes a response of HTTP/2.

#include "engine/http/exchange.h"
#include "engine/http/framing.h"
#include "engine/http/session.h"
#include "engine/http/websocket.h"

namespace weir::http {

void Exchange::begin_bridged() {
  MessageHead& head = *head_;
  bridge_key_ = arena_.copy(make_websocket_key());
  head.method = Method::get;
  head.method_text = "GET";
  head.upgrade = true;
  head.headers.add(arena_, Header{"upgrade", "websocket", HeaderId::upgrade});
  head.headers.add(arena_, Header{"connection", "upgrade", HeaderId::connection});
  head.headers.add(arena_, "sec-websocket-key", bridge_key_);
}

bool Exchange::accepts_upgrade(const HeaderList& answer) const {
  if (!is_bridged()) return true;
  const Header* upgrade = answer.find(HeaderId::upgrade);
  const Header* accept = answer.find("Sec-WebSocket-Accept");
  return upgrade != nullptr && equals_ignoring_case(upgrade->value, "websocket") &&
         accept != nullptr && accept->value == websocket_accept(bridge_key_);
}

// True: the head went out in another form.
bool Exchange::send_bridged_head(const MessageHead& head, bool end) {
  const bool success = head.status >= 200 && head.status < 300;
  if (head.status != 101 && !success) return false;
  Codec& codec = session_->codec();
  MessageHead sent = head;
  sent.upgrade = false;
  sent.headers = HeaderList();
  for (const Header& field : head.headers) {
    if (is_hop_by_hop(field.id) || equals_ignoring_case(field.name, "Sec-WebSocket-Accept")) {
      continue;
    }
    sent.headers.add(arena_, field);
  }
  if (head.status == 101) {
    sent.status = 200;
    sent.body = {BodyLength::Kind::chunked, 0};
  } else {
    // RFC 8441 section 4: 2xx would say that the tunnel is there.
    sent.status = 501;
    sent.body = {BodyLength::Kind::exact, 0};
    end = true;
    main_->response_.status = 501;
  }
  const size_t before = codec.output().bytes();
  codec.send_head(stream_, sent, end);
  head_bytes_sent_ = codec.output().bytes() - before;
  head_sent_ = true;
  if (end) {
    pending_.clear();
    response_ended_ = true;
    end_position_ = session_->queued();
  } else {
    main_->response_.status = sent.status;
    body_.open_stream(*main_);
  }
  session_->flush();
  return true;
}

}  // namespace weir::http
