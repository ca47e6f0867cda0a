// Every byte and number that the protocol fixes, the size limits, and the SQLSTATEs in use.
// Spelled as in https://www.postgresql.org/docs/current/protocol-message-formats.html

/** The first Int32 behind the length of an untyped packet. */
export const RequestCode = {
  CancelRequest: 80877102,
  SSLRequest: 80877103,
  GSSENCRequest: 80877104,
} as const;

/** The major protocol version that pgvpd speaks; any minor version is relayed to the server. */
export const PROTOCOL_MAJOR = 3;

/** Type bytes of messages sent by a frontend. */
export const FrontendMessage = {
  Bind: 0x42, // 'B'
  Close: 0x43, // 'C'
  CopyData: 0x64, // 'd'
  CopyDone: 0x63, // 'c'
  CopyFail: 0x66, // 'f'
  Describe: 0x44, // 'D'
  Execute: 0x45, // 'E'
  Flush: 0x48, // 'H'
  FunctionCall: 0x46, // 'F'
  Parse: 0x50, // 'P'
  PasswordMessage: 0x70, // 'p', also SASL and GSS responses
  Query: 0x51, // 'Q'
  Sync: 0x53, // 'S'
  Terminate: 0x58, // 'X'
} as const;

/** Type bytes of messages sent by a backend. */
export const BackendMessage = {
  Authentication: 0x52, // 'R'
  BackendKeyData: 0x4b, // 'K'
  BindComplete: 0x32, // '2'
  CloseComplete: 0x33, // '3'
  CommandComplete: 0x43, // 'C'
  CopyBothResponse: 0x57, // 'W'
  CopyInResponse: 0x47, // 'G'
  DataRow: 0x44, // 'D'
  EmptyQueryResponse: 0x49, // 'I'
  ErrorResponse: 0x45, // 'E'
  NegotiateProtocolVersion: 0x76, // 'v'
  NoData: 0x6e, // 'n'
  NoticeResponse: 0x4e, // 'N'
  NotificationResponse: 0x41, // 'A'
  ParameterStatus: 0x53, // 'S'
  ParseComplete: 0x31, // '1'
  PortalSuspended: 0x73, // 's'
  ReadyForQuery: 0x5a, // 'Z'
  RowDescription: 0x54, // 'T'
} as const;

/** The Int32 that says what an Authentication message asks for. */
export const AuthenticationRequest = {
  Ok: 0,
  CleartextPassword: 3,
  MD5Password: 5,
  SASL: 10,
  SASLContinue: 11,
  SASLFinal: 12,
} as const;

/** The transaction status in a ReadyForQuery. */
export const TransactionStatus = {
  Idle: 0x49, // 'I'
  InTransaction: 0x54, // 'T'
  Failed: 0x45, // 'E'
} as const;

/** The answer to an SSLRequest or GSSENCRequest that is not granted. */
export const ENCRYPTION_DENIED = 0x4e; // 'N'
/** The answer to an SSLRequest after which TLS begins. */
export const ENCRYPTION_GRANTED = 0x53; // 'S'

/** Type byte and length of a message. */
export const HEADER_SIZE = 5;
/** The length field, which counts itself. */
export const LENGTH_SIZE = 4;

/**
 * The largest start-up packet, its length field not counted. PostgreSQL's own limit
 * (MAX_STARTUP_PACKET_LENGTH).
 */
export const STARTUP_PACKET_SIZE_MAX = 10_000;
/** The longest secret key of a CancelRequest, in bytes, since protocol 3.2. */
export const CANCEL_KEY_SIZE_MAX = 256;
/** The largest message a client may send while it logs in (PG_MAX_AUTH_TOKEN_LENGTH). */
export const PASSWORD_MESSAGE_SIZE_MAX = 65_535;

/**
 * The SQLSTATEs that pgvpd itself raises, by their documented condition names.
 * https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
export const SqlState = {
  SqlClientUnableToEstablishConnection: "08001",
  SqlServerRejectedConnection: "08004",
  ConnectionFailure: "08006",
  ProtocolViolation: "08P01",
  FeatureNotSupported: "0A000",
  CharacterNotInRepertoire: "22021",
  InvalidParameterValue: "22023",
  IdleInTransactionSessionTimeout: "25P03",
  TransactionTimeout: "25P04",
  InvalidAuthorizationSpecification: "28000",
  InvalidPassword: "28P01",
  InsufficientPrivilege: "42501",
  SyntaxError: "42601",
  TooManyConnections: "53300",
  ProgramLimitExceeded: "54000",
  QueryCanceled: "57014",
  AdminShutdown: "57P01",
  CannotConnectNow: "57P03",
  IdleSessionTimeout: "57P05",
  InternalError: "XX000",
} as const;
/** A five-character SQLSTATE; also codes that only a server raises are carried around. */
export type SqlState = string;
