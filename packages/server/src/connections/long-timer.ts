/** The longest delay that a timer of Node takes; a longer one fires immediately. */
const maxTimerMs = 2 ** 31 - 1

/**
 * Runs something later, however long that is. It does not keep the process alive.
 *
 * @returns cancels it.
 */
export function runLater(run: () => void, ms: number): () => void {
  let leftMs = Math.max(0, ms)
  let timer: NodeJS.Timeout
  const step = (): void => {
    const stepMs = Math.min(leftMs, maxTimerMs)
    leftMs -= stepMs
    timer = setTimeout(leftMs > 0 ? step : run, stepMs)
    timer.unref()
  }
  step()
  return () => clearTimeout(timer)
}
