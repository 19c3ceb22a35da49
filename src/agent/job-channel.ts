/** The way to the network, as jobs need it. */
export interface JobChannel {
  /** False when no session is open, or the frame is larger than the network takes. */
  send(t: string, payload: string | object): boolean;
  frameBytes(): number;
  /** A promise while the socket is congested. */
  congestion(): Promise<void> | undefined;
  /** POST /v1/results. @throws NetworkError */
  postResult(payload: string): Promise<unknown>;
}
