/** What a peer says of its health, and how it proved who it is. */
export interface RemoteHealth {
  status: 'healthy' | 'unhealthy' | 'unknown';
  components: Record<string, { healthy: boolean; status: string; message: string }>;
  node_id: string;
  node_name: string;
  version: string;
  /** RFC 3339; null when the peer does not tell. */
  uptime_since: string | null;
  /** Of the call alone, on a connection that stood. */
  latency_ms: number;
  /** Null without TLS. */
  certificate: RemoteCertificate | null;
}

export interface RemoteCertificate {
  subject: string;
  sans: string[];
  issuer: string;
  serial: string;
  /** RFC 3339. */
  not_after: string;
}
